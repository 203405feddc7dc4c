"""The frame of test/bench/run: rounds, servers, meters, statistics, reports. Nothing here knows a job."""
