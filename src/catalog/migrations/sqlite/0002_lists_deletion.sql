-- Lists by owner in the order of ids, deletion with tombstones, and blobs whose file is missing.

-- A list is a walk of one of these from the cursor on, newest first, whatever the size of the table.
CREATE INDEX uploads_owner ON uploads (owner, id);
CREATE INDEX images_owner ON images (owner, id);
ALTER TABLE jobs ADD COLUMN owner TEXT NOT NULL DEFAULT '';
UPDATE jobs SET owner = (SELECT owner FROM uploads WHERE uploads.id = jobs.upload);
CREATE INDEX jobs_owner ON jobs (owner, id);
CREATE INDEX jobs_owner_state ON jobs (owner, state, id);

-- Whatever is deleted is found by what points at it; without these each deletion would walk whole tables, for its own
-- sake or to check the references.
CREATE INDEX images_upload ON images (upload);
CREATE INDEX images_blob ON images (blob);
CREATE INDEX jobs_image ON jobs (image);
CREATE INDEX variants_result ON variants (result);
CREATE INDEX idempotency_upload ON idempotency (upload);
CREATE INDEX blobs_dead ON blobs (id) WHERE state = 'dead';

-- The file of a live blob was looked for and is not there, or not whole.
ALTER TABLE blobs ADD COLUMN missing INTEGER NOT NULL DEFAULT 0 CHECK (missing IN (0, 1));

-- What was here once: a deleted id is told from one that never was. Purged after a while.
CREATE TABLE tombstones (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind TEXT NOT NULL CHECK (kind IN ('upload', 'image', 'job')),
    owner TEXT NOT NULL,
    deleted_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tombstones_deleted_at ON tombstones (deleted_at);
