-- What happened. Append-only, one day a chunk where TimescaleDB is installed, plain tables elsewhere.
--
-- Indexes are half of the cost of a write, so each serves a query that nothing else serves:
--   transactions (to_id, close time)             by id, keyset lists
--   transactions (hash), (inner_hash)            by hash; the inner one only exists for fee bumps
--   operations (id, close time)                  by id, keyset lists, operations of a transaction (id range)
--   *_accounts (account, id, muxed, close time)  an account's transactions and operations, both directions
--   *_accounts BRIN (id)                         the accounts of a transaction or operation: ids grow with time
--   state_changes (close time, to_id, operation_id, state_change_id)  of a transaction or operation, whole list
--   state_changes (account, to_id, operation_id, state_change_id)     of an account, both directions
-- Rows of a transaction, its operations and state changes share the close time: queries for children give it.

CREATE TABLE transactions (
    to_id             bigint NOT NULL,
    hash              bytea NOT NULL,
    inner_hash        bytea,
    envelope_xdr      text,
    meta_xdr          text,
    fee_charged       bigint NOT NULL,
    result_code       text NOT NULL,
    ledger_number     integer NOT NULL,
    ledger_created_at timestamptz NOT NULL,
    is_fee_bump       boolean NOT NULL DEFAULT false,
    ingested_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (to_id, ledger_created_at)
);
CREATE INDEX idx_transactions_hash ON transactions (hash);
CREATE INDEX idx_transactions_inner_hash ON transactions (inner_hash) WHERE inner_hash IS NOT NULL;

CREATE TABLE transactions_accounts (
    account_id        bytea NOT NULL,
    account_muxed_id  bigint NOT NULL DEFAULT 0,
    tx_to_id          bigint NOT NULL,
    ledger_created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, tx_to_id, account_muxed_id, ledger_created_at)
);
COMMENT ON COLUMN transactions_accounts.account_muxed_id IS 'Id of an M address, unsigned 64 bits in two''s complement; 0 for others';
CREATE INDEX idx_transactions_accounts_tx ON transactions_accounts USING brin (tx_to_id)
    WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE operations (
    id                bigint NOT NULL,
    operation_type    text NOT NULL CHECK (operation_type IN (
        'PAYMENT', 'INVOKE_HOST_FUNCTION', 'MANAGE_SELL_OFFER', 'MANAGE_BUY_OFFER', 'PATH_PAYMENT_STRICT_SEND',
        'PATH_PAYMENT_STRICT_RECEIVE', 'CREATE_ACCOUNT', 'CHANGE_TRUST', 'CREATE_CLAIMABLE_BALANCE', 'CLAIM_CLAIMABLE_BALANCE',
        'SET_OPTIONS', 'MANAGE_DATA', 'SET_TRUST_LINE_FLAGS', 'ALLOW_TRUST', 'ACCOUNT_MERGE', 'BEGIN_SPONSORING_FUTURE_RESERVES',
        'END_SPONSORING_FUTURE_RESERVES', 'REVOKE_SPONSORSHIP', 'CLAWBACK', 'CLAWBACK_CLAIMABLE_BALANCE', 'LIQUIDITY_POOL_DEPOSIT',
        'LIQUIDITY_POOL_WITHDRAW', 'BUMP_SEQUENCE', 'CREATE_PASSIVE_SELL_OFFER', 'INFLATION', 'EXTEND_FOOTPRINT_TTL',
        'RESTORE_FOOTPRINT')),
    operation_xdr     bytea,
    result_code       text NOT NULL,
    successful        boolean NOT NULL,
    ledger_number     integer NOT NULL,
    ledger_created_at timestamptz NOT NULL,
    ingested_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, ledger_created_at)
);

CREATE TABLE operations_accounts (
    account_id        bytea NOT NULL,
    account_muxed_id  bigint NOT NULL DEFAULT 0,
    operation_id      bigint NOT NULL,
    ledger_created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, operation_id, account_muxed_id, ledger_created_at)
);
COMMENT ON COLUMN operations_accounts.account_muxed_id IS 'Id of an M address, unsigned 64 bits in two''s complement; 0 for others';
CREATE INDEX idx_operations_accounts_operation ON operations_accounts USING brin (operation_id)
    WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE state_changes (
    to_id                  bigint NOT NULL,
    operation_id           bigint NOT NULL,
    state_change_id        bigint NOT NULL CHECK (state_change_id >= 1),
    state_change_category  text NOT NULL CHECK (state_change_category IN (
        'BALANCE', 'ACCOUNT', 'SIGNER', 'SIGNATURE_THRESHOLD', 'METADATA', 'FLAGS', 'TRUSTLINE', 'RESERVES',
        'BALANCE_AUTHORIZATION', 'ALLOWANCE')),
    state_change_reason    text NOT NULL CHECK (state_change_reason IN (
        'DEBIT', 'CREDIT', 'MINT', 'BURN', 'CREATE', 'MERGE', 'ADD', 'REMOVE', 'UPDATE', 'LOW', 'MEDIUM', 'HIGH', 'HOME_DOMAIN',
        'SET', 'CLEAR', 'DATA_ENTRY', 'SPONSOR', 'UNSPONSOR')),
    ledger_number          integer NOT NULL,
    ledger_created_at      timestamptz NOT NULL,
    ingested_at            timestamptz NOT NULL DEFAULT now(),
    account_id             bytea NOT NULL,
    account_muxed_id       bigint,
    token_id               bytea,
    amount                 text,
    to_muxed_id            text,
    signer_account_id      bytea,
    signer_payload         bytea,
    signer_weight_old      smallint,
    signer_weight_new      smallint,
    spender_account_id     bytea,
    sponsored_account_id   bytea,
    sponsor_account_id     bytea,
    creator_account_id     bytea,
    destination_account_id bytea,
    claimable_balance_id   text,
    liquidity_pool_id      text,
    sponsored_data         text,
    data_entry_name        text,
    threshold_old          smallint,
    threshold_new          smallint,
    trustline_limit_old    bigint,
    trustline_limit_new    bigint,
    flags                  smallint,
    key_value              jsonb,
    PRIMARY KEY (ledger_created_at, to_id, operation_id, state_change_id)
);
COMMENT ON COLUMN state_changes.operation_id IS '0 on a transaction''s fee row';
COMMENT ON COLUMN state_changes.account_muxed_id IS 'Id of an M address, unsigned 64 bits in two''s complement; NULL for others';
COMMENT ON COLUMN state_changes.signer_payload IS 'What a P (signed payload) signer has after its key';
CREATE INDEX idx_state_changes_account ON state_changes (account_id, to_id, operation_id, state_change_id);

-- The setting is missing on plain PostgreSQL, `apache` or `timescale` where the extension is created.
DO $$
DECLARE
    edition text := current_setting('timescaledb.license', true);
    name text;
BEGIN
    IF edition IS NULL THEN
        RETURN;
    END IF;
    FOREACH name IN ARRAY ARRAY['transactions', 'transactions_accounts', 'operations', 'operations_accounts', 'state_changes'] LOOP
        PERFORM create_hypertable(name::regclass, by_range('ledger_created_at', interval '1 day'), create_default_indexes => false);
    END LOOP;
    IF edition <> 'timescale' THEN
        RETURN;
    END IF;
    ALTER TABLE transactions SET (timescaledb.compress,
        timescaledb.compress_segmentby = '',
        timescaledb.compress_orderby = 'ledger_created_at DESC, to_id DESC');
    ALTER TABLE operations SET (timescaledb.compress,
        timescaledb.compress_segmentby = '',
        timescaledb.compress_orderby = 'ledger_created_at DESC, id DESC');
    ALTER TABLE transactions_accounts SET (timescaledb.compress,
        timescaledb.compress_segmentby = 'account_id',
        timescaledb.compress_orderby = 'ledger_created_at DESC, tx_to_id DESC, account_muxed_id');
    ALTER TABLE operations_accounts SET (timescaledb.compress,
        timescaledb.compress_segmentby = 'account_id',
        timescaledb.compress_orderby = 'ledger_created_at DESC, operation_id DESC, account_muxed_id');
    ALTER TABLE state_changes SET (timescaledb.compress,
        timescaledb.compress_segmentby = 'account_id',
        timescaledb.compress_orderby = 'ledger_created_at DESC, to_id DESC, operation_id DESC, state_change_id DESC');
    -- Needed here to name the columns, and in every session that wants chunks skipped by them.
    PERFORM set_config('timescaledb.enable_chunk_skipping', 'on', true);
    PERFORM enable_chunk_skipping('transactions', 'to_id');
    PERFORM enable_chunk_skipping('transactions_accounts', 'tx_to_id');
    PERFORM enable_chunk_skipping('operations', 'id');
    PERFORM enable_chunk_skipping('operations_accounts', 'operation_id');
    PERFORM enable_chunk_skipping('state_changes', 'to_id');
END
$$;
