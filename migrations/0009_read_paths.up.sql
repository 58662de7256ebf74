-- Indexes that the API's plans prove they need (docs/decisions/0015), each with few entries:
--   ledgers (closed_at)                       a time becomes an id, which every list of history is ordered by; one entry a ledger
--   state_changes (account, category, ids)    an account's changes of a kind; nine of ten rows, plain debits and credits, have none
--   offers (seller, id)                       an account's offers in order, instead of (seller): as many entries as before
CREATE INDEX idx_ledgers_closed_at ON ledgers (closed_at, sequence);
CREATE INDEX idx_state_changes_account_rare ON state_changes (account_id, state_change_category, to_id, operation_id, state_change_id)
    WHERE state_change_category <> 'BALANCE' OR state_change_reason NOT IN ('DEBIT', 'CREDIT');
DROP INDEX idx_offers_seller;
CREATE INDEX idx_offers_seller ON offers (seller_account_id, offer_id);
