-- Returns the N of Python 3.N with this ABI (cp313t: 13); null if it is of no Python 3. Equal to minor_of in core/pythons.py.
CREATE FUNCTION piwheels._minor(the_abi text) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT nullif(least(substring(the_abi FROM '^(?:cp|pypy)3([0-9]{1,2})(?![0-9])')::integer, 63), 63);
$$;
