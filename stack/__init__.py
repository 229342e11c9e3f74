"""The whole stack on one machine without Docker: embedded Postgres and Redis, Umbel's processes, supervised."""
