-- Returns the position of an ABI in the build sequence, from its Python version; unknown tags come last. Equal positions are
-- sorted by tag. Must agree with abi_key in core/wheels/tags.py.
CREATE FUNCTION piwheels._abi_position(the_abi text) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(
        substring(the_abi, '^cp([0-9])[0-9]{1,4}[a-z]*$')::integer * 100000
        + substring(the_abi, '^cp[0-9]([0-9]{1,4})[a-z]*$')::integer,
        2147483647
    );
$$;
