-- Returns whether a version that excludes the Pythons of a mask (versions.excluded) may support Python 3.N. Equal to supports in
-- core/pythons.py.
CREATE FUNCTION piwheels._supports(the_mask bigint, the_minor integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce((the_mask >> the_minor & 1) = 0, true);
$$;
