-- Returns the tags (PEP 425) that installers for a target accept. Their platform is 'any', or the family of the target; 'native'
-- if its platform is 'any'. Must agree with accepted_by in core/wheels/serving.py.
CREATE FUNCTION piwheels._accepted_tags(the_platform text, the_abi text) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    WITH named AS (
        SELECT coalesce(
            regexp_match(the_abi, '^(cp)([0-9])([0-9]{1,4})([a-z]*)$'),
            regexp_match(the_abi, '^(pypy)([0-9])([0-9]{1,4})_[a-z0-9_]+$')
        ) AS part
    ), native AS (
        SELECT CASE the_platform WHEN 'any' THEN 'native' ELSE the_platform END AS machine
    ), python AS (
        SELECT part[1] AS kind, part[2]::integer AS major, part[3]::integer AS minor, coalesce(part[4], '') AS flags,
            CASE part[1] WHEN 'cp' THEN 'cp' WHEN 'pypy' THEN 'pp' END || part[2] || part[3]::integer AS name
        FROM named
    )
    SELECT ARRAY(
        -- Its own ABI. A debug build can load the extensions of a normal one, too.
        SELECT coalesce(name, 'py3') || '-' || abi || '-' || machine
        FROM native, python, unnest(ARRAY[the_abi, CASE WHEN kind = 'cp' AND (major, minor) >= (3, 8) THEN replace(the_abi, 'd', '') END]) AS abi
        WHERE abi IS NOT NULL
        UNION
        -- The stable ABI of this Python and of earlier ones
        SELECT 'cp' || major || older || CASE WHEN flags LIKE '%t%' THEN '-abi3t-' ELSE '-abi3-' END || machine
        FROM native, python, generate_series(2, minor) AS older
        WHERE kind = 'cp' AND major >= 3
        UNION
        SELECT name || '-none-' || machine FROM python, native WHERE name IS NOT NULL
        UNION
        SELECT CASE kind WHEN 'pypy' THEN 'pp' || major ELSE name END || '-none-any' FROM python WHERE name IS NOT NULL
        UNION
        -- Every implementation of this Python, and of earlier ones
        SELECT 'py' || coalesce(major, 3) || older || '-none-' || platform
        FROM native, python, unnest(ARRAY['any', machine]) AS platform,
            LATERAL (SELECT '' UNION ALL SELECT generate_series(0, minor)::text) AS earlier (older)
    );
$$;
