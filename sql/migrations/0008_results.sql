-- The tags that installers for each ABI accept. The trigger on the table fills the column, and _refresh_derived after each
-- upgrade.
ALTER TABLE build_abis DROP COLUMN free_threaded;
ALTER TABLE build_abis ADD COLUMN accepted TEXT[] NOT NULL DEFAULT '{}';
