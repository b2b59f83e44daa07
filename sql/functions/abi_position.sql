-- The place of an ABI among the others (ties by name): that of its Python; unknown shapes go last. It agrees with
-- abi_key of core/wheels/tags.py.
CREATE FUNCTION piwheels.abi_position(the_abi text) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(
        substring(the_abi, '^cp([0-9])[0-9]{1,4}[a-z]*$')::integer * 100000
        + substring(the_abi, '^cp[0-9]([0-9]{1,4})[a-z]*$')::integer,
        2147483647
    );
$$;
