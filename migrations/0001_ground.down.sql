DROP TABLE sponsored_accounts;
DROP TABLE keypairs;
DROP TABLE channel_accounts;
DROP FUNCTION refresh_updated_at_column();
DROP TABLE sink_offsets;
DROP TABLE processors;
DROP TABLE ledgers;
DROP TABLE ingest_store;
