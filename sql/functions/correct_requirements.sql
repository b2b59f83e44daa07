-- Stores the masks of the Pythons that these specifiers exclude (core/pythons.py).
CREATE FUNCTION piwheels.correct_requirements(the_specifiers text[], the_masks bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _queue_lock(true);
    UPDATE versions v SET excluded = k.mask
        FROM unnest(the_specifiers, the_masks) AS k (specifier, mask)
        WHERE v.requires_python = k.specifier AND v.excluded <> k.mask;
END
$$;
