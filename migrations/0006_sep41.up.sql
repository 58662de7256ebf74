-- Custom tokens (SEP-41): which code is a token's, which contract runs which code, who holds and who may spend what.

CREATE TABLE protocols (
    id         text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE protocols IS 'What code can be: the values of protocol_wasms.protocol_id';
INSERT INTO protocols (id) VALUES ('SEP41');

CREATE TABLE protocol_wasms (
    wasm_hash   bytea PRIMARY KEY CHECK (length(wasm_hash) = 32),
    protocol_id text,
    created_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN protocol_wasms.protocol_id IS 'NULL: code of no known protocol. Code never seen has no row';

CREATE TABLE protocol_contracts (
    contract_id bytea PRIMARY KEY CHECK (length(contract_id) = 33),
    wasm_hash   bytea NOT NULL,
    name        text,
    symbol      text,
    decimals    integer,
    created_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE protocol_contracts IS 'The code each contract ran when it was last seen, and what its instance storage said of the token';
CREATE INDEX idx_protocol_contracts_wasm ON protocol_contracts (wasm_hash);

-- Amounts come from events, so from whoever wrote the contract: nothing bounds their sums, and a live_until_ledger may be any u32.
CREATE TABLE sep41_balances (
    account_id           bytea NOT NULL,
    contract_id          uuid NOT NULL,
    balance              numeric NOT NULL,
    last_modified_ledger bigint NOT NULL,
    PRIMARY KEY (account_id, contract_id)
);
COMMENT ON COLUMN sep41_balances.balance IS 'Sum of the token''s events from the first ledger in which it was known as a token';

CREATE TABLE sep41_allowances (
    owner_id             bytea NOT NULL,
    spender_id           bytea NOT NULL,
    contract_id          uuid NOT NULL,
    amount               numeric NOT NULL,
    expiration_ledger    bigint NOT NULL,
    last_modified_ledger bigint NOT NULL,
    PRIMARY KEY (owner_id, spender_id, contract_id)
);
COMMENT ON COLUMN sep41_allowances.expiration_ledger IS 'The last ledger in which it may be spent';
CREATE INDEX idx_sep41_allowances_expiration ON sep41_allowances (expiration_ledger);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['sep41_balances', 'sep41_allowances'] LOOP
        EXECUTE format(
            'ALTER TABLE %I SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 50, '
            'autovacuum_analyze_scale_factor = 0.01, autovacuum_analyze_threshold = 50, autovacuum_vacuum_cost_delay = 0, '
            'autovacuum_vacuum_cost_limit = 1000)', name);
    END LOOP;
END
$$;
