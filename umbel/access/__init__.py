"""Who may call the API or read the database, and what administrators did.

keys.py holds API keys, sessions.py the browser sessions opened with them, audit.py the audit log, and reader.py the
SQL role `umbel_reader`. Imports `umbel.base` only.
"""
