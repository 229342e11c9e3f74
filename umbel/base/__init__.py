"""What every package stands on: settings, errors, types, tables, database sessions, blob store, logging, metrics.

It knows no capability and imports nothing of `umbel` above it. settings.py reads the environment, errors.py names what
can go wrong, database.py opens transactions, schema.py applies migrations, tables.py maps the tables, blobs.py stores
bytes; logging.py, metrics.py, tracing.py and origin.py let one request be followed.
"""
