-- Watch the projects that the file of names has, and no more those that it had (but for what operators asked for).
CREATE FUNCTION piwheels.watch_listed(the_packages text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM watched WHERE NOT asked AND package <> ALL (the_packages);
    UPDATE watched SET listed = false WHERE listed AND package <> ALL (the_packages);
    INSERT INTO watched (package, listed) SELECT unnest(the_packages), true
        ON CONFLICT (package) DO UPDATE SET listed = true;
END
$$;
