-- What came of a file on its slave: whether pip installs it, and Python imports its modules. NULL: unknown, it was not tried.
-- Why: the reason for another answer than yes. Connects, starts: what its import wanted to reach and to start; empty: nothing.
ALTER TABLE files
    ADD COLUMN installs BOOLEAN,
    ADD COLUMN imports BOOLEAN,
    ADD COLUMN trial_why VARCHAR(200) NOT NULL DEFAULT '',
    ADD COLUMN connects VARCHAR(200) NOT NULL DEFAULT '',
    ADD COLUMN starts VARCHAR(200) NOT NULL DEFAULT '';
