#!/bin/sh
# The database's container runs this once, for a new database: the role of piw-master.
set -eu
psql --username=postgres --dbname=piwheels --set=ON_ERROR_STOP=1 --set=password="$MASTER_PASSWORD" <<'SQL'
CREATE ROLE piwheels LOGIN PASSWORD :'password';
SQL
