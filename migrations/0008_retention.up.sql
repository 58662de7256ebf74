-- How much history is kept, and which backfill and replay jobs are at work, so that retention does not drop what they write.

CREATE TABLE retention (
    only_row       boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    keep           interval,
    dropped_before timestamptz,
    held_by        text NOT NULL DEFAULT '',
    ran_at         timestamptz
);
COMMENT ON TABLE retention IS 'Written by `lumenstream maintain`, read by backfill jobs and by the status';
COMMENT ON COLUMN retention.keep IS 'The retention period in force; NULL: everything is kept';
COMMENT ON COLUMN retention.dropped_before IS 'Ledgers that closed earlier were dropped';
COMMENT ON COLUMN retention.held_by IS 'Why nothing is dropped at present; empty: it is';
INSERT INTO retention DEFAULT VALUES;

CREATE TABLE backfill_jobs (
    job              text PRIMARY KEY,
    first_ledger     integer NOT NULL,
    last_ledger      integer NOT NULL,
    processors       text[],
    pauses_retention boolean NOT NULL,
    started_at       timestamptz NOT NULL DEFAULT now(),
    expires_at       timestamptz NOT NULL,
    ended_at         timestamptz
);
COMMENT ON COLUMN backfill_jobs.expires_at IS 'Put off again and again while the command runs: a job past it was killed';
COMMENT ON COLUMN backfill_jobs.processors IS 'A replay of these alone; NULL: whole ledgers';
