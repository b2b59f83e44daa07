-- Which Pythons a version is for. Requires_python: as upstream or its source says; null: unknown. Excluded: what follows from it, bit
-- N for Python 3.N (core/pythons.py).
ALTER TABLE versions
    ADD COLUMN requires_python VARCHAR(8192),
    ADD COLUMN excluded BIGINT NOT NULL DEFAULT 0 CHECK (excluded >= 0),
    ADD CHECK (excluded = 0 OR requires_python IS NOT NULL),
    -- Of the source distributions as upstream lists them, with hashes and times: it changes with any of them. Empty: unknown.
    ADD COLUMN sources_digest VARCHAR(64) NOT NULL DEFAULT '';
ALTER TABLE targets ADD COLUMN minor INTEGER;
