"""Model versions: registered, filled with vectors, judged, activated, retired.

versions.py has their rows and locks; checkpoints.py checks, registers and keeps their files; lifecycle.py activates,
rolls back and retires one. partitions.py holds each version's table and HNSW index, and indexing.py decides when the
index is built. reindexes.py has the reindexes, which fill a version; calibration.py gives distances a meaning,
collection_calibrations.py has those that collections have of their own.
Imports base, access, jobs and gallery.
"""
