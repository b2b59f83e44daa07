-- Recipes (Recipe in core/recipes.py), each content once.
CREATE TABLE recipes (
    recipe_id    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    content      JSONB NOT NULL
);
CREATE UNIQUE INDEX recipes_content ON recipes (md5(content::text));

-- The recipe that a project's builds begin with. The farm has found it, or an operator has written it.
CREATE TABLE project_recipes (
    package      VARCHAR(200) COLLATE "C" PRIMARY KEY REFERENCES packages ON DELETE CASCADE,
    recipe_id    BIGINT NOT NULL REFERENCES recipes,
    by_operator  BOOLEAN NOT NULL,
    since        TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX project_recipes_recipe ON project_recipes (recipe_id);

-- Why a build failed (Diagnosis in core/diagnosis). Counts: false for a failure of the farm, which is none of the package's.
ALTER TABLE builds
    ADD COLUMN reason VARCHAR(200) COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN subject VARCHAR(200) NOT NULL DEFAULT '',
    ADD COLUMN cause VARCHAR(8192) NOT NULL DEFAULT '',
    ADD COLUMN counts BOOLEAN NOT NULL DEFAULT true,
    ADD COLUMN recipe_id BIGINT REFERENCES recipes;
CREATE INDEX builds_reason ON builds (reason, subject, built_at) WHERE NOT status;
CREATE INDEX builds_recipe ON builds (recipe_id) WHERE recipe_id IS NOT NULL;

-- Failed builds that are tried again by themselves, at most one for each version and target. Tried: the steps so far. Due:
-- infinity means that only an operator, or something new, starts the attempt. Ready: it is due, and in the queue.
CREATE TABLE retries (
    build_id     BIGINT PRIMARY KEY REFERENCES builds ON DELETE CASCADE,
    package      VARCHAR(200) COLLATE "C" NOT NULL,
    version      VARCHAR(200) COLLATE "C" NOT NULL,
    platform     VARCHAR(200) COLLATE "C" NOT NULL,
    abi_tag      VARCHAR(200) COLLATE "C" NOT NULL,
    attempt      SMALLINT NOT NULL CHECK (attempt > 0),
    tried        TEXT[] NOT NULL,
    recipe_id    BIGINT REFERENCES recipes,
    due          TIMESTAMPTZ NOT NULL,
    ready        BOOLEAN NOT NULL,
    UNIQUE (package, version, platform, abi_tag)
);
CREATE INDEX retries_due ON retries (due) WHERE NOT ready;

-- Attempts that were put off become builds that do not count.
DO $$
DECLARE
    each builds_put_off;
    the_build bigint;
BEGIN
    FOR each IN SELECT * FROM builds_put_off ORDER BY put_off_at LOOP
        INSERT INTO builds (package, version, platform, abi_tag, status, label, built_at, final, reason, cause, counts)
            VALUES (each.package, each.version, CASE each.platform WHEN 'any' THEN '' ELSE each.platform END, each.abi_tag,
                false, each.label, each.put_off_at, false, 'unknown', each.reason, false)
            RETURNING build_id INTO the_build;
        INSERT INTO build_logs_pending (build_id, output) VALUES (the_build, each.output);
    END LOOP;
END
$$;
DROP TABLE builds_put_off;
-- Which Pythons a version is for. Requires_python: as upstream or its source says; null: unknown. Excluded: what follows from it, bit
-- N for Python 3.N (core/pythons.py).
ALTER TABLE versions
    ADD COLUMN requires_python VARCHAR(8192),
    ADD COLUMN excluded BIGINT NOT NULL DEFAULT 0 CHECK (excluded >= 0),
    ADD CHECK (excluded = 0 OR requires_python IS NOT NULL),
    -- Of the source distributions as upstream lists them, with hashes and times: it changes with any of them. Empty: unknown.
    ADD COLUMN sources_digest VARCHAR(64) NOT NULL DEFAULT '';
ALTER TABLE targets ADD COLUMN minor INTEGER;
