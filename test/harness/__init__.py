"""Real servers for tests: PostgreSQL, nats-server, the Qdrant front and the fleet, on free ports.

Everything lives in one temporary folder per session and runs under an unprivileged account when the
tests run as root. See fixtures.py for what a test can ask for.
"""
