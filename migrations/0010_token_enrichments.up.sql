-- Tokens whose contract would not tell its metadata when it was asked, so that it is not asked again at once.

CREATE TABLE token_enrichments (
    contract_id uuid PRIMARY KEY,
    tries       integer NOT NULL,
    tried_at    timestamptz NOT NULL,
    error       text NOT NULL
);
COMMENT ON TABLE token_enrichments IS 'Rows of contract_tokens that lumenstream enrich could not fill; a row goes when it succeeds';
