-- The ranges of backfill and replay jobs: planned by the command, rewritten by backfill sinks, which note the end of each in the
-- transaction that wrote it. What a range's parts are, and whether they still count, is read here and nowhere else.

CREATE TABLE backfill_ranges (
    job          text NOT NULL,
    first_ledger integer NOT NULL,
    last_ledger  integer NOT NULL CHECK (last_ledger >= first_ledger),
    parts        text[] NOT NULL,
    processors   text[],
    state        text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'failed', 'superseded')),
    error        text NOT NULL DEFAULT '',
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job, first_ledger)
);
COMMENT ON COLUMN backfill_ranges.parts IS 'Processors whose parts a ledger of the range needs';
COMMENT ON COLUMN backfill_ranges.processors IS 'Processors whose rows are rewritten; NULL: the whole history of the range';
CREATE INDEX idx_backfill_ranges_open ON backfill_ranges (first_ledger) WHERE state = 'open';
