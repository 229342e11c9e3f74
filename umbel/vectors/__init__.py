"""Vectors out of the gallery and into it, with the ids, labels and metadata of their images, as Parquet or npz.

export.py reads them batch by batch; parquet.py and npz.py are the two formats, importing.py stores what came in.
Imports base, access, jobs, gallery, models, embedding and search.
"""
