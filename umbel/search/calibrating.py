"""A collection's own calibration: fitted on its labelled images' vectors, used where its images are identified."""

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.database import Transaction
from umbel.base.errors import Busy, NotFound, NotReady, TooFewLabels
from umbel.base.locks import only_one
from umbel.embedding import embeddings
from umbel.gallery import collections
from umbel.models import collection_calibrations, versions
from umbel.models.collection_calibrations import OwnCalibration
from umbel.models.partitions import partition_name

GALLERY = 20_000  # labelled images at most that are voted among: 40 MB
MOST_CLASSES = GALLERY // 4  # so that those have others to be found
SEED = 0  # the same images, the same calibration

# Labelled images of a collection: as many of each class as fit, of an order of their own; of many classes only some.
SAMPLE = """
    WITH labelled AS (
        SELECT i.id, i.label, dense_rank() OVER (ORDER BY hashtextextended(i.label, 0), i.label) AS class,
               row_number() OVER (PARTITION BY i.label ORDER BY hashtextextended(i.id::text, 0)) AS nth
        FROM image i JOIN {partition} e ON e.image_id = i.id
        WHERE i.collection_id = :collection AND i.label IS NOT NULL
    )
    SELECT id, label FROM labelled WHERE class <= :classes ORDER BY nth, class LIMIT :most
"""


def calibrate(transaction: Transaction, name: str) -> OwnCalibration:
    """Fit a calibration to the labels of the collection called `name`, for the active version, and keep it.

    Every image asked for votes is looked up among the others, once with its label in the gallery and once without.
    Takes seconds; one at a time. Raises NotFound, TooFewLabels, NotReady without an active version or if it is replaced
    meanwhile, Busy while another is fitted.
    """
    from umbel.search.calibration_fit import LEAST, WHOLE, Labelled, fit  # noqa: PLC0415 - SciPy takes long to import

    with only_one("umbel calibration") as ours:
        if not ours:
            raise Busy("Another collection is being calibrated; try again in a few seconds.")
        with transaction() as session:
            version = versions.get_active_key(session)
            collection_id = collections.get_collection(session, name)
            rows = session.execute(
                text(SAMPLE.format(partition=partition_name(version.id))),
                {"collection": collection_id, "classes": MOST_CLASSES, "most": GALLERY},
            ).all()
            vectors = embeddings.find_vectors(session, version.id, [row.id for row in rows])
        rows = [row for row in rows if row.id in vectors]
        names, labels = np.unique([row.label for row in rows], return_inverse=True)
        one = Labelled(name, np.array([vectors[row.id] for row in rows]), labels)
        known = sorted({names[labels[at]] for at in one.askable})
        found = fit([one], seed=SEED, description="the collection's own labels", labels=known, galleries=WHOLE)
        if found is None:
            sizes = np.bincount(labels, minlength=1)
            raise TooFewLabels(
                f"The collection {name!r} has {sizes[sizes > 1].sum():,} embedded images that share their label with"
                f" another, of {(sizes > 1).sum():,} labels; a calibration needs {LEAST} at least, of 2 labels or more."
                " Label more images and try again."
            )
        with transaction() as session:
            versions.lock_states(session, shared=True)
            if versions.get_active_key(session) != version:
                raise NotReady("Another model has become active meanwhile; calibrate again.")
            if not _holds(session, name, collection_id):
                raise NotFound(f"There is no collection called {name!r}.")
            return collection_calibrations.upsert_calibration(session, collection_id, version.id, found)


def _holds(session: Session, name: str, collection_id: object) -> bool:
    """Whether the collection is still there; it stays until the transaction ends."""
    place = collections.lock_collections(session, [name]).get(name)
    return place is not None and place.id == collection_id
