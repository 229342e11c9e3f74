"""Carries a reindex out: its phases (`run`), and the check that a new version must pass (`acceptance_check`),
on the images of `labelled_sample`.

It embeds, searches and measures recall, so it stands above search. How a reindex is asked for and ended:
umbel/models/reindexes.py.
"""
