-- The holder of the key of the slave that has a lease; empty without keys.
ALTER TABLE leases ADD COLUMN holder VARCHAR(200) NOT NULL DEFAULT '';
