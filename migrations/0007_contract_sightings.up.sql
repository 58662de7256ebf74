-- Backfill jobs see old ledgers in any order: what a contract ran later stays.
ALTER TABLE protocol_contracts ADD COLUMN last_modified_ledger bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN protocol_contracts.last_modified_ledger IS 'The ledger in which it was seen with this code and this description';
