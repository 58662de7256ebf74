DROP TABLE backfill_jobs;
DROP TABLE retention;
