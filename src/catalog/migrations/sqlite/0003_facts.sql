-- What an image is, told once for each stored original: JSON as `src/facts.rs` writes it. It goes with its blob.
CREATE TABLE facts (
    blob BLOB NOT NULL PRIMARY KEY REFERENCES blobs (id) ON DELETE CASCADE,
    facts TEXT NOT NULL
) STRICT, WITHOUT ROWID;
