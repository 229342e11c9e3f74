"""Changes to many images by a job: labels and metadata, into the trash, out of it, and for ever.

bulk.py begins such jobs and works on them, bulk_rows.py has their rows, applying.py what is done to a batch. tiling.py
switches the tiles of a collection, of which such a job embeds those of the images that are there.
"""
