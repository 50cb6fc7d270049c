-- Uploads that go by themselves, jobs that are remembered longer than what they made, and which request a job came with.

ALTER TABLE uploads ADD COLUMN expires_at INTEGER;
CREATE INDEX uploads_expires_at ON uploads (expires_at) WHERE expires_at IS NOT NULL;

-- `request` is the id of the request, `trace` the trace-id it said it belongs to (W3C Trace Context), if any.
ALTER TABLE jobs ADD COLUMN request BLOB CHECK (request IS NULL OR length(request) = 16);
ALTER TABLE jobs ADD COLUMN trace BLOB CHECK (trace IS NULL OR length(trace) = 16);

-- How many wait for each priority, and since when, is read from this alone.
CREATE INDEX jobs_queued_priority ON jobs (priority, queued_at) WHERE state = 'queued';

-- What is remembered of a job whose image was deleted: what was done, how long it took, how it ended. No file names, no texts of
-- clients (`operations` are names of options, without their arguments), no hashes. Points at nothing: all it came from is gone.
CREATE TABLE past_jobs (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    owner TEXT NOT NULL,
    upload BLOB NOT NULL CHECK (length(upload) = 16),
    image BLOB NOT NULL CHECK (length(image) = 16),
    state TEXT NOT NULL CHECK (state IN ('completed', 'partial', 'failed', 'cancelled')),
    priority TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    queued_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER NOT NULL,
    erased_at INTEGER NOT NULL,
    queue_ns INTEGER,
    read_ns INTEGER,
    decode_ns INTEGER,
    cpu_ns INTEGER,
    total_ns INTEGER,
    peak_bytes INTEGER,
    failure_code TEXT,
    source_format TEXT NOT NULL,
    source_bytes INTEGER NOT NULL,
    source_width_px INTEGER NOT NULL,
    source_height_px INTEGER NOT NULL,
    request BLOB,
    trace BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX past_jobs_owner ON past_jobs (owner, id);
CREATE INDEX past_jobs_finished_at ON past_jobs (finished_at);

CREATE TABLE past_tasks (
    job BLOB NOT NULL REFERENCES past_jobs (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    operations TEXT NOT NULL,
    format TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('completed', 'failed', 'cancelled')),
    transform_ns INTEGER,
    encode_ns INTEGER,
    store_ns INTEGER,
    failure_code TEXT,
    bytes INTEGER,
    width_px INTEGER,
    height_px INTEGER,
    PRIMARY KEY (job, position)
) STRICT, WITHOUT ROWID;
