-- Batches: further work at all stored images that match a filter, a few at a time.

-- `filter` and `variants` are JSON as `sqlite/batches.rs` writes it. The walk goes by the ids of images, from `cursor` to `upto`, the last there was
-- when the batch was made. `open_jobs` and the four after it say how many of its jobs are in which state; `matched` is NULL until images were counted.
CREATE TABLE batches (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    owner TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'completed', 'partial', 'failed', 'cancelled')),
    filter TEXT NOT NULL,
    variants TEXT NOT NULL,
    priority TEXT NOT NULL,
    key TEXT,
    fingerprint BLOB CHECK (length(fingerprint) = 32),
    created_at INTEGER NOT NULL,
    finished_at INTEGER,
    upto BLOB,
    cursor BLOB,
    walked INTEGER NOT NULL DEFAULT 0 CHECK (walked IN (0, 1)),
    matched INTEGER,
    skipped INTEGER NOT NULL DEFAULT 0,
    refused INTEGER NOT NULL DEFAULT 0,
    open_jobs INTEGER NOT NULL DEFAULT 0 CHECK (open_jobs >= 0),
    completed_jobs INTEGER NOT NULL DEFAULT 0 CHECK (completed_jobs >= 0),
    partial_jobs INTEGER NOT NULL DEFAULT 0 CHECK (partial_jobs >= 0),
    failed_jobs INTEGER NOT NULL DEFAULT 0 CHECK (failed_jobs >= 0),
    cancelled_jobs INTEGER NOT NULL DEFAULT 0 CHECK (cancelled_jobs >= 0),
    CHECK ((state = 'running') = (finished_at IS NULL)),
    CHECK ((key IS NULL) = (fingerprint IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX batches_owner ON batches (owner, id);
CREATE UNIQUE INDEX batches_key ON batches (owner, key) WHERE key IS NOT NULL;
CREATE INDEX batches_open ON batches (id) WHERE state = 'running' OR open_jobs > 0;

-- Why images of a batch have no job.
CREATE TABLE batch_refusals (
    batch BLOB NOT NULL REFERENCES batches (id),
    code TEXT NOT NULL,
    images INTEGER NOT NULL,
    example BLOB NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (batch, code)
) STRICT, WITHOUT ROWID;

ALTER TABLE jobs ADD COLUMN batch BLOB REFERENCES batches (id);
CREATE INDEX jobs_batch_open ON jobs (batch) WHERE batch IS NOT NULL AND state IN ('queued', 'running');

-- A batch's counts move with the states of its jobs, whoever moves those: a claim, an end, a cancellation, a retry, a lost lease, a deletion. A job that is
-- deleted after it had ended stays counted as what it was.
CREATE TRIGGER jobs_batch_added AFTER INSERT ON jobs WHEN NEW.batch IS NOT NULL BEGIN
    UPDATE batches SET
        open_jobs = open_jobs + (NEW.state IN ('queued', 'running')),
        completed_jobs = completed_jobs + (NEW.state = 'completed')
    WHERE id = NEW.batch;
END;
CREATE TRIGGER jobs_batch_moved AFTER UPDATE OF state ON jobs
WHEN NEW.batch IS NOT NULL AND NEW.state <> OLD.state AND NOT (NEW.state IN ('queued', 'running') AND OLD.state IN ('queued', 'running')) BEGIN
    UPDATE batches SET
        open_jobs = open_jobs + (NEW.state IN ('queued', 'running')) - (OLD.state IN ('queued', 'running')),
        completed_jobs = completed_jobs + (NEW.state = 'completed') - (OLD.state = 'completed'),
        partial_jobs = partial_jobs + (NEW.state = 'partial') - (OLD.state = 'partial'),
        failed_jobs = failed_jobs + (NEW.state = 'failed') - (OLD.state = 'failed'),
        cancelled_jobs = cancelled_jobs + (NEW.state = 'cancelled') - (OLD.state = 'cancelled'),
        -- A retry makes work of a batch that had ended by itself; its owner's word that it is cancelled stands.
        state = CASE WHEN NEW.state = 'queued' AND state IN ('completed', 'partial', 'failed') THEN 'running' ELSE state END,
        finished_at = CASE WHEN NEW.state = 'queued' AND state IN ('completed', 'partial', 'failed') THEN NULL ELSE finished_at END
    WHERE id = NEW.batch;
END;
CREATE TRIGGER jobs_batch_deleted AFTER DELETE ON jobs WHEN OLD.batch IS NOT NULL AND OLD.state IN ('queued', 'running') BEGIN
    UPDATE batches SET open_jobs = open_jobs - 1, cancelled_jobs = cancelled_jobs + 1 WHERE id = OLD.batch;
END;
