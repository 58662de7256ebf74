-- Cursors, the proof of presence of every ledger, what the sink requires and where it resumes, and the accounts we act for.

CREATE TABLE ingest_store (
    key   varchar(255) PRIMARY KEY,
    value varchar(255) NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE ledgers (
    sequence                     integer PRIMARY KEY,
    hash                         bytea NOT NULL,
    previous_hash                bytea NOT NULL,
    previous_sequence            integer,
    closed_at                    timestamptz NOT NULL,
    protocol_version             integer NOT NULL,
    transaction_count            integer NOT NULL,
    successful_transaction_count integer NOT NULL,
    operation_count              integer NOT NULL,
    state_change_count           integer NOT NULL,
    topic                        text NOT NULL,
    partition                    integer NOT NULL,
    "offset"                     bigint NOT NULL,
    ingested_at                  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ledgers IS 'One row for every ledger committed; a sequence without a row is a gap. topic, partition, offset: its raw message';

CREATE TABLE processors (
    name          text PRIMARY KEY,
    version       integer NOT NULL,
    required_from integer NOT NULL
);
COMMENT ON TABLE processors IS 'The sink commits a ledger when it has the parts of every processor with required_from <= sequence';

CREATE TABLE sink_offsets (
    topic     text NOT NULL,
    partition integer NOT NULL,
    "offset"  bigint NOT NULL,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);
COMMENT ON TABLE sink_offsets IS 'Lowest offset of any part of an uncommitted ledger: where a restarted sink reads on';

CREATE FUNCTION refresh_updated_at_column() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE TABLE channel_accounts (
    public_key            varchar(64) PRIMARY KEY,
    encrypted_private_key varchar(256) NOT NULL,
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now(),
    locked_at             timestamp,
    locked_until          timestamp,
    locked_tx_hash        varchar(64)
);
CREATE INDEX idx_locked_tx_hash ON channel_accounts (locked_tx_hash);
CREATE TRIGGER refresh_channel_accounts_updated_at BEFORE UPDATE ON channel_accounts
    FOR EACH ROW EXECUTE FUNCTION refresh_updated_at_column();

CREATE TABLE keypairs (
    public_key            varchar(64) PRIMARY KEY,
    encrypted_private_key bytea NOT NULL,
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now()
);
CREATE TRIGGER refresh_keypairs_updated_at BEFORE UPDATE ON keypairs
    FOR EACH ROW EXECUTE FUNCTION refresh_updated_at_column();

CREATE TABLE sponsored_accounts (
    stellar_address bytea PRIMARY KEY CHECK (length(stellar_address) = 33),
    created_at      timestamptz NOT NULL DEFAULT now()
);
