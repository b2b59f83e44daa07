-- Entries as rows of downloads; what was asked for stands under the name given.
CREATE FUNCTION piwheels._access_rows(entries jsonb, the_name text) RETURNS SETOF downloads
LANGUAGE sql STABLE ROWS 100 AS $$
    SELECT e ->> the_name, e ->> 'host', (e ->> 'timestamp')::timestamptz, e ->> 'arch',
        e ->> 'distro_name', e ->> 'distro_version', e ->> 'os_name', e ->> 'os_version',
        e ->> 'py_name', e ->> 'py_version', e ->> 'installer_name', e ->> 'installer_version',
        e ->> 'setuptools_version'
    FROM jsonb_array_elements(entries) AS e;
$$;
