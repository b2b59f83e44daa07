-- Returns the platform family of a platform tag. Must agree with family in core/targets.py.
CREATE FUNCTION piwheels._family(the_platform text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT regexp_replace(regexp_replace(regexp_replace(
        lower(the_platform),
        '^(?:many(linux)(?:1|2010|2014|_[0-9]+_[0-9]+)|(musllinux)_[0-9]+_[0-9]+)_([a-z0-9_]+)$', '\1\2_\3'
    ), '^([^_]*)_armv8l$', '\1_armv7l'), '^([^_]*)_i[345]86$', '\1_i686');
$$;
