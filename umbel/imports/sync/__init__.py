"""Syncs: folders and buckets that are followed.

A run is a job that lists its source as an import does, and reads only what is new or changed (comparing.py). Then it
notes what was read, and removes what is gone (finishing.py).
"""
