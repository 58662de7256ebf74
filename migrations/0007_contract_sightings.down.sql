ALTER TABLE protocol_contracts DROP COLUMN last_modified_ledger;
