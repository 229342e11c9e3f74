#!/bin/sh
# Runs once, when the database server's volume is new. Umbel's own user is no superuser: it owns its database, and may make
# the role `umbel_reader`; what only a superuser can do is done here.
set -eu
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
     --set=password="$UMBEL_POSTGRES_PASSWORD" <<'SQL'
CREATE ROLE umbel LOGIN CREATEROLE PASSWORD :'password';
CREATE DATABASE umbel OWNER umbel;
\connect umbel
CREATE EXTENSION vector;
-- Anybody may write large objects, unless it is forbidden.
REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea), lo_open(oid, integer),
    lo_put(oid, bigint, bytea), lowrite(integer, bytea) FROM PUBLIC;
SQL
