#!/usr/bin/env bash
# Moves the embedded database of UMBEL_HOME to the Postgres of a newer version of Umbel, by a dump and a restore.
#
#   deploy/upgrade_postgres.sh OLD_VENV NEW_VENV
#
# OLD_VENV, NEW_VENV: virtual environments with the version of Umbel that wrote the database and with the newer one. The stack
# must be down. The old database stays beside the new one, as postgres.MAJOR; the pictures are not touched. If anything fails,
# the old one is put back.
set -euo pipefail

[ $# -eq 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
old=$1/bin/umbel new=$2/bin/umbel
export UMBEL_HOME=${UMBEL_HOME:-var}
data=$UMBEL_HOME/postgres

[ -z "${UMBEL_DATABASE_URL:-}" ] || { echo "UMBEL_DATABASE_URL is set: that database is not the embedded one."; exit 1; }
[ -f "$data/PG_VERSION" ] || { echo "There is no embedded database in $UMBEL_HOME."; exit 1; }
major=$(cat "$data/PG_VERSION")
kept=$UMBEL_HOME/postgres.$major
[ ! -e "$kept" ] || { echo "$kept is there already, from an earlier upgrade: move it away first."; exit 1; }

backup=$UMBEL_HOME/upgrade
echo "Backing up with the old version…"
"$old" backup "$backup"

back() {
  echo "The upgrade failed; the old database is put back."
  rm -rf "$data"
  mv "$kept" "$data"
}
mv "$data" "$kept"
trap back ERR

echo "Restoring with the new version…"
"$new" restore "$backup"
trap - ERR

rm -rf "$backup"
echo "Done: Postgres $major is now $(cat "$data/PG_VERSION")."
echo "When all is well, remove $kept."
