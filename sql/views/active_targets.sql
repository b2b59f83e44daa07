-- The targets that the farm builds for.
CREATE VIEW piwheels.active_targets AS
SELECT t.platform, t.abi_tag, t.position, t.since, t.accepted, t.minor
FROM public.targets t JOIN public.build_abis a USING (abi_tag)
WHERE t.skip = '' AND a.skip = '';
