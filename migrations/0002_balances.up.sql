-- What every account holds now. Written by the live sink only, a few rows of many accounts in every ledger: pages keep room for
-- HOT updates, no index stands on a column that changes, and vacuum comes early.

CREATE TABLE trustline_assets (
    id         uuid PRIMARY KEY,
    code       text NOT NULL,
    issuer     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (code, issuer)
);

CREATE TABLE contract_tokens (
    id          uuid PRIMARY KEY,
    contract_id text NOT NULL UNIQUE,
    type        text NOT NULL CHECK (type IN ('NATIVE', 'SAC', 'SEP41', 'UNKNOWN')),
    code        text,
    issuer      text,
    name        text,
    symbol      text,
    decimals    integer NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
CREATE TRIGGER refresh_contract_tokens_updated_at BEFORE UPDATE ON contract_tokens
    FOR EACH ROW EXECUTE FUNCTION refresh_updated_at_column();

CREATE TABLE trustline_balances (
    account_id           bytea NOT NULL,
    asset_id             uuid NOT NULL,
    balance              bigint NOT NULL DEFAULT 0,
    trust_limit          bigint NOT NULL DEFAULT 0,
    buying_liabilities   bigint NOT NULL DEFAULT 0,
    selling_liabilities  bigint NOT NULL DEFAULT 0,
    flags                integer NOT NULL DEFAULT 0,
    last_modified_ledger bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (account_id, asset_id)
);

CREATE TABLE native_balances (
    account_id           bytea PRIMARY KEY,
    balance              bigint NOT NULL DEFAULT 0,
    minimum_balance      bigint NOT NULL DEFAULT 0,
    buying_liabilities   bigint NOT NULL DEFAULT 0,
    selling_liabilities  bigint NOT NULL DEFAULT 0,
    num_subentries       integer NOT NULL DEFAULT 0,
    last_modified_ledger bigint NOT NULL DEFAULT 0
);

CREATE TABLE sac_balances (
    account_id           bytea NOT NULL,
    contract_id          uuid NOT NULL,
    balance              numeric(39, 0) NOT NULL DEFAULT 0,
    is_authorized        boolean NOT NULL DEFAULT true,
    is_clawback_enabled  boolean NOT NULL DEFAULT false,
    last_modified_ledger bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (account_id, contract_id)
);

CREATE TABLE account_contract_tokens (
    account_id  bytea NOT NULL,
    contract_id uuid NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, contract_id)
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['trustline_balances', 'native_balances', 'sac_balances', 'account_contract_tokens'] LOOP
        EXECUTE format(
            'ALTER TABLE %I SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 50, '
            'autovacuum_analyze_scale_factor = 0.01, autovacuum_analyze_threshold = 50, autovacuum_vacuum_cost_delay = 0, '
            'autovacuum_vacuum_cost_limit = 1000)', name);
    END LOOP;
END
$$;
