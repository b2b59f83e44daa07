-- Starts builds for an ABI, on all platforms of the farm (without any: for the platform 'any'). Returns false if the ABI exists
-- already; then only its skip reason is set, and its targets stay.
CREATE FUNCTION piwheels.add_build_abi(the_abi text, the_skip text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _queue_lock(true);
    IF EXISTS (SELECT FROM build_abis WHERE abi_tag = the_abi) THEN
        -- An UPDATE without rows would still refresh the whole queue.
        IF EXISTS (SELECT FROM build_abis WHERE abi_tag = the_abi AND skip <> the_skip) THEN
            UPDATE build_abis SET skip = the_skip WHERE abi_tag = the_abi;
        END IF;
        RETURN false;
    END IF;
    INSERT INTO build_abis (abi_tag, position, skip)
        VALUES (the_abi, _abi_position(the_abi), the_skip);
    INSERT INTO targets (platform, abi_tag)
        SELECT DISTINCT platform, the_abi FROM targets
        UNION SELECT 'any', the_abi WHERE NOT EXISTS (SELECT FROM targets);
    RETURN true;
END
$$;
