"""Running the service: backup and restore, reconciliation, statistics.

backup.py writes a backup and restore.py brings one back, dump.py runs pg_dump and pg_restore for both;
reconciliation/ compares ledger, blobs, embeddings and index; statistics.py has the gauges. Imports every package of
`umbel`; no other package of `umbel` imports it.
"""
