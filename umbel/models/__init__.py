"""Model versions: registered, filled with vectors, judged, activated, retired.

versions.py has their rows and locks, checkpoints.py their stored files, registration.py checks and adds a checkpoint,
lifecycle.py activates, rolls back and retires one. partitions.py holds each version's table and HNSW index, and
indexing.py decides when the index is built. A reindex fills a version; calibration.py gives distances a meaning.
Imports base, access, jobs and gallery.
"""
