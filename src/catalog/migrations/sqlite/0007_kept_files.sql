-- Starts that found this catalog older than the files beside it: what no row names and was made before is kept. Usually none.
CREATE TABLE kept_files (
    before INTEGER NOT NULL PRIMARY KEY
) STRICT;
