-- Batches are forgotten, too: they are found by their end, and the jobs that name them by those.
CREATE INDEX batches_finished_at ON batches (finished_at) WHERE finished_at IS NOT NULL AND open_jobs = 0;
CREATE INDEX jobs_batch ON jobs (batch) WHERE batch IS NOT NULL;
