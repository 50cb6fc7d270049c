-- Frames of a result: more than one where it is an animation. Before this version every result was a still picture.
ALTER TABLE variants ADD COLUMN frames INTEGER NOT NULL DEFAULT 1;
