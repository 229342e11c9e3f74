#!/bin/sh
# Lets a replica follow: a role, a slot that keeps what it has not read yet (4 GB at most), and the right to connect.
# Safe to repeat.
set -eu
grep -q "replicator" "$PGDATA/pg_hba.conf" || echo "host replication replicator all scram-sha-256" >> "$PGDATA/pg_hba.conf"
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
     --set=password="$REPLICATION_PASSWORD" --output=/dev/null <<'SQL'
SELECT 'CREATE ROLE replicator LOGIN REPLICATION' WHERE to_regrole('replicator') IS NULL \gexec
ALTER ROLE replicator PASSWORD :'password';
SELECT pg_create_physical_replication_slot('replica')
WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'replica');
ALTER SYSTEM SET max_slot_wal_keep_size = '4GB';
SELECT pg_reload_conf();
SQL
