DROP INDEX idx_offers_seller;
CREATE INDEX idx_offers_seller ON offers (seller_account_id);
DROP INDEX idx_state_changes_account_rare;
DROP INDEX idx_ledgers_closed_at;
