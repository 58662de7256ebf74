DROP TABLE backfill_ranges;
