-- The first shape of the catalog. Ids are UUIDs as 16-byte blobs, times are milliseconds since the Unix epoch (UTC),
-- durations are nanoseconds (`_ns`), words are those of `domain`. A migration that was released is never edited.

-- Stored bytes, originals and results alike. `refs` counts the images and variants that point here.
-- Deleting sets `state` to 'dead' in the transaction that takes `refs` to zero; the file goes after the commit.
CREATE TABLE blobs (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    bytes INTEGER NOT NULL CHECK (bytes >= 0),
    refs INTEGER NOT NULL CHECK (refs >= 0),
    state TEXT NOT NULL CHECK (state IN ('live', 'dead')),
    CHECK ((refs = 0) = (state = 'dead'))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX blobs_live_sha256 ON blobs (sha256) WHERE state = 'live';

-- `metadata` is a JSON array of [key, value], `rejected` one of [filename, code, detail, limit, received].
CREATE TABLE uploads (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    owner TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    rejected TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    upload BLOB NOT NULL REFERENCES uploads (id),
    PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;

-- One per accepted file; several may share a blob.
CREATE TABLE images (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    upload BLOB NOT NULL REFERENCES uploads (id),
    position INTEGER NOT NULL,
    owner TEXT NOT NULL,
    blob BLOB NOT NULL REFERENCES blobs (id),
    filename TEXT,
    format TEXT NOT NULL,
    width_px INTEGER NOT NULL,
    height_px INTEGER NOT NULL,
    duplicate INTEGER NOT NULL CHECK (duplicate IN (0, 1)),
    received_at INTEGER NOT NULL,
    metadata TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What was made of a blob: at most one result for each spec and version of the pipeline.
CREATE TABLE variants (
    blob BLOB NOT NULL REFERENCES blobs (id),
    spec_digest BLOB NOT NULL CHECK (length(spec_digest) = 32),
    pipeline_version INTEGER NOT NULL,
    result BLOB NOT NULL REFERENCES blobs (id),
    format TEXT NOT NULL,
    quality INTEGER,
    width_px INTEGER NOT NULL,
    height_px INTEGER NOT NULL,
    PRIMARY KEY (blob, spec_digest, pipeline_version)
) STRICT, WITHOUT ROWID;

-- `due_at` is set while a job waits for another attempt, the lease while it runs, the times once it ended by itself.
-- `crashes` counts the workers that died while this job was all they worked on. A `suspect` was worked on when a worker
-- died, beside others or not, and runs alone until an attempt at it ends.
CREATE TABLE jobs (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    upload BLOB NOT NULL REFERENCES uploads (id),
    image BLOB NOT NULL REFERENCES images (id),
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'completed', 'partial', 'failed', 'cancelled')),
    priority TEXT NOT NULL,
    rank INTEGER NOT NULL,
    cost_bytes INTEGER NOT NULL CHECK (cost_bytes >= 0),
    attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    max_attempts INTEGER NOT NULL,
    crashes INTEGER NOT NULL DEFAULT 0 CHECK (crashes >= 0),
    suspect INTEGER NOT NULL DEFAULT 0 CHECK (suspect IN (0, 1)),
    queued_at INTEGER NOT NULL,
    due_at INTEGER,
    started_at INTEGER,
    finished_at INTEGER,
    lease_owner TEXT,
    lease_token BLOB,
    lease_until INTEGER,
    queue_ns INTEGER,
    read_ns INTEGER,
    decode_ns INTEGER,
    cpu_ns INTEGER,
    total_ns INTEGER,
    peak_bytes INTEGER,
    failure_code TEXT,
    failure_detail TEXT,
    CHECK ((state = 'running') = (lease_token IS NOT NULL)),
    CHECK ((state IN ('queued', 'running')) = (finished_at IS NULL))
) STRICT, WITHOUT ROWID;
-- The claim walks the first in order and stops: no sort, whatever the length of the queue.
CREATE INDEX jobs_queued_rank ON jobs (rank, id) WHERE state = 'queued';
CREATE INDEX jobs_queued_due ON jobs (due_at) WHERE state = 'queued' AND due_at IS NOT NULL;
CREATE INDEX jobs_running ON jobs (lease_until) WHERE state = 'running';
CREATE INDEX jobs_upload ON jobs (upload);

-- A task that has not ended is 'pending': whether it waits or runs is what its job does, said in one place only.
-- The result of a completed task is the variant of (its image's blob, spec_digest, pipeline_version).
CREATE TABLE tasks (
    job BLOB NOT NULL REFERENCES jobs (id),
    position INTEGER NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    image BLOB NOT NULL REFERENCES images (id),
    name TEXT NOT NULL,
    options TEXT NOT NULL,
    spec TEXT NOT NULL,
    spec_digest BLOB NOT NULL CHECK (length(spec_digest) = 32),
    pipeline_version INTEGER NOT NULL,
    format TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'completed', 'failed', 'cancelled')),
    finished_at INTEGER,
    transform_ns INTEGER,
    encode_ns INTEGER,
    store_ns INTEGER,
    failure_code TEXT,
    failure_detail TEXT,
    PRIMARY KEY (job, position)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX tasks_image_name ON tasks (image, name);

-- One row, moved by differences in the transaction that causes them.
CREATE TABLE totals (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 0),
    uploads INTEGER NOT NULL DEFAULT 0,
    bytes_received INTEGER NOT NULL DEFAULT 0,
    completed_tasks INTEGER NOT NULL DEFAULT 0,
    failed_tasks INTEGER NOT NULL DEFAULT 0,
    cancelled_tasks INTEGER NOT NULL DEFAULT 0,
    pending_tasks INTEGER NOT NULL DEFAULT 0,
    queued_jobs INTEGER NOT NULL DEFAULT 0,
    running_jobs INTEGER NOT NULL DEFAULT 0,
    task_micros INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO totals (only_row) VALUES (0);
