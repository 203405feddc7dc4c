"""One job per file; each has `JOB`, an instance of kit.job.Job."""
