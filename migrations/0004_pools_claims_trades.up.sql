-- Liquidity pools, claimable balances, offers and trades: current state like the balances of 0002, history like the tables of 0003.
--
-- Assets are text here, `native` or CODE:ISSUER: a pool or an offer may name an asset that no trustline ever did.
-- Indexes beyond the primary keys, each for a query that nothing else serves:
--   claimable_balance_claimants (account, balance)     what an account may claim
--   offers (seller)                                    an account's open offers
--   claimable_balance_events (account, ids)            what an account created, claimed or clawed back
--   claimable_balance_events (balance)                 what became of a balance
--   trades (taker, ids), (maker, ids)                  an account's trades, both sides: docs/decisions/0006

CREATE TABLE liquidity_pools (
    pool_id              text PRIMARY KEY,
    asset_a              text NOT NULL,
    asset_b              text NOT NULL,
    reserve_a            bigint NOT NULL,
    reserve_b            bigint NOT NULL,
    fee_bp               integer NOT NULL,
    total_shares         bigint NOT NULL,
    trustline_count      bigint NOT NULL,
    last_modified_ledger bigint NOT NULL
);
COMMENT ON TABLE liquidity_pools IS 'Constant product pools; reserves and shares in stroops, fee in basis points';

CREATE TABLE liquidity_pool_balances (
    account_id           bytea NOT NULL,
    pool_id              text NOT NULL,
    shares               bigint NOT NULL,
    last_modified_ledger bigint NOT NULL,
    PRIMARY KEY (account_id, pool_id)
);

CREATE TABLE claimable_balances (
    balance_id           text PRIMARY KEY,
    asset                text NOT NULL,
    amount               bigint NOT NULL,
    flags                integer NOT NULL,
    sponsor_account_id   bytea,
    creator_account_id   bytea,
    created_ledger       bigint,
    created_at           timestamptz,
    last_modified_ledger bigint NOT NULL
);
COMMENT ON COLUMN claimable_balances.flags IS '1: the issuer may claw it back';
COMMENT ON COLUMN claimable_balances.creator_account_id IS 'As created_ledger and created_at NULL where the creation was not seen';

CREATE TABLE claimable_balance_claimants (
    balance_id text NOT NULL,
    account_id bytea NOT NULL,
    predicate  jsonb NOT NULL,
    PRIMARY KEY (balance_id, account_id)
);
COMMENT ON COLUMN claimable_balance_claimants.predicate IS 'When the account may claim; times in Unix seconds, always absolute';
CREATE INDEX idx_claimable_balance_claimants_account ON claimable_balance_claimants (account_id, balance_id);

CREATE TABLE offers (
    offer_id             bigint PRIMARY KEY,
    seller_account_id    bytea NOT NULL,
    selling              text NOT NULL,
    buying               text NOT NULL,
    amount               bigint NOT NULL,
    price_n              integer NOT NULL,
    price_d              integer NOT NULL,
    flags                integer NOT NULL,
    sponsor_account_id   bytea,
    last_modified_ledger bigint NOT NULL
);
COMMENT ON COLUMN offers.flags IS '1: passive, takes no offer of the same price';
COMMENT ON COLUMN offers.price_n IS 'price_n / price_d of buying for 1 of selling';
CREATE INDEX idx_offers_seller ON offers (seller_account_id);

CREATE TABLE claimable_balance_events (
    to_id             bigint NOT NULL,
    operation_id      bigint NOT NULL,
    event_id          bigint NOT NULL CHECK (event_id >= 1),
    ledger_number     integer NOT NULL,
    ledger_created_at timestamptz NOT NULL,
    ingested_at       timestamptz NOT NULL DEFAULT now(),
    balance_id        text NOT NULL,
    kind              text NOT NULL CHECK (kind IN ('CREATED', 'CLAIMED', 'CLAWED_BACK')),
    account_id        bytea NOT NULL,
    asset             text NOT NULL,
    amount            bigint NOT NULL,
    PRIMARY KEY (ledger_created_at, to_id, operation_id, event_id)
);
COMMENT ON COLUMN claimable_balance_events.account_id IS 'Who created or claimed the balance, or the issuer who took it back';
CREATE INDEX idx_claimable_balance_events_account ON claimable_balance_events (account_id, to_id, operation_id, event_id);
CREATE INDEX idx_claimable_balance_events_balance ON claimable_balance_events (balance_id);

CREATE TABLE trades (
    to_id             bigint NOT NULL,
    operation_id      bigint NOT NULL,
    trade_id          bigint NOT NULL CHECK (trade_id >= 1),
    ledger_number     integer NOT NULL,
    ledger_created_at timestamptz NOT NULL,
    ingested_at       timestamptz NOT NULL DEFAULT now(),
    kind              text NOT NULL CHECK (kind IN ('ORDERBOOK', 'LIQUIDITY_POOL')),
    taker_account_id  bytea NOT NULL,
    maker_account_id  bytea,
    liquidity_pool_id text,
    offer_id          bigint,
    sold_asset        text NOT NULL,
    sold_amount       bigint NOT NULL,
    bought_asset      text NOT NULL,
    bought_amount     bigint NOT NULL,
    price_n           bigint NOT NULL,
    price_d           bigint NOT NULL,
    PRIMARY KEY (ledger_created_at, to_id, operation_id, trade_id),
    CHECK ((kind = 'ORDERBOOK') = (maker_account_id IS NOT NULL) AND (kind = 'LIQUIDITY_POOL') = (liquidity_pool_id IS NOT NULL))
);
COMMENT ON COLUMN trades.trade_id IS 'Ordinal in the operation, from 1';
COMMENT ON COLUMN trades.offer_id IS 'The maker''s offer; NULL for a pool';
COMMENT ON COLUMN trades.sold_amount IS 'What the maker sold and the taker got; bought_amount is what the maker got for it';
COMMENT ON COLUMN trades.price_n IS 'price_n / price_d = bought_amount / sold_amount exactly, reduced; price_d is 0 where rounding left nothing to sell';
CREATE INDEX idx_trades_taker ON trades (taker_account_id, to_id, operation_id, trade_id);
CREATE INDEX idx_trades_maker ON trades (maker_account_id, to_id, operation_id, trade_id) WHERE maker_account_id IS NOT NULL;

DO $$
DECLARE
    edition text := current_setting('timescaledb.license', true);
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['liquidity_pools', 'liquidity_pool_balances', 'claimable_balances', 'claimable_balance_claimants',
                                'offers'] LOOP
        EXECUTE format(
            'ALTER TABLE %I SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 50, '
            'autovacuum_analyze_scale_factor = 0.01, autovacuum_analyze_threshold = 50, autovacuum_vacuum_cost_delay = 0, '
            'autovacuum_vacuum_cost_limit = 1000)', name);
    END LOOP;
    IF edition IS NULL THEN
        RETURN;
    END IF;
    FOREACH name IN ARRAY ARRAY['claimable_balance_events', 'trades'] LOOP
        PERFORM create_hypertable(name::regclass, by_range('ledger_created_at', interval '1 day'), create_default_indexes => false);
    END LOOP;
    IF edition <> 'timescale' THEN
        RETURN;
    END IF;
    ALTER TABLE claimable_balance_events SET (timescaledb.compress,
        timescaledb.compress_segmentby = 'account_id',
        timescaledb.compress_orderby = 'ledger_created_at DESC, to_id DESC, operation_id DESC, event_id DESC');
    -- An account is found on either side of a trade: by the sparse indexes of these columns, not by segments of one of them.
    ALTER TABLE trades SET (timescaledb.compress,
        timescaledb.compress_segmentby = '',
        timescaledb.compress_orderby = 'ledger_created_at DESC, to_id DESC, operation_id DESC, trade_id DESC');
    PERFORM set_config('timescaledb.enable_chunk_skipping', 'on', true);
    PERFORM enable_chunk_skipping('claimable_balance_events', 'to_id');
    PERFORM enable_chunk_skipping('trades', 'to_id');
END
$$;
