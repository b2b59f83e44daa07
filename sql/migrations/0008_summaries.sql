-- The one-line summary in the metadata of the newest wheel. An operator's description takes precedence.
ALTER TABLE packages ADD COLUMN summary TEXT NOT NULL DEFAULT '';
