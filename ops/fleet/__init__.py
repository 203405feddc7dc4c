"""Development servers and the fleet on one machine: what ops/up and the test harness share.

Standard library only, so that a fresh Debian 12 needs nothing but python3 to run it.
"""
