"""Measurements beside the peers: `test/bench/run`. kit/ the frame, jobs/ one file each, peers/ one folder each."""
