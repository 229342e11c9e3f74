"""An index of bits finds what an exact search finds, through filters, in collections and page after page."""

from itertools import pairwise

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.integration.factory import Factory
from tests.integration.threshold import scan_up_to
from umbel.base.types import IndexKind, Vectors
from umbel.embedding import embeddings
from umbel.gallery.filters import Filter, of_label
from umbel.models import partitions
from umbel.search.nearest import Place, Scope, nearest_images

IMAGES, DIM, DIRECTIONS = 3_000, 128, 16


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


@pytest.fixture
def gallery(session: Session, make: Factory, rng: np.random.Generator) -> None:
    """IMAGES in two collections, with an index of bits; a tenth has the label `rare`, a tenth is in `few`."""
    version = make.version(dim=DIM)
    partitions.drop_index(session, version.id)
    version.hnsw_kind = IndexKind.BITS
    session.flush()
    owners = [make.collection("few" if number == 0 else "many") for number in range(10)]
    rows = session.execute(
        text("""
            INSERT INTO image (collection_id, sha256, blob_key, media_type, size, width, height, label)
            SELECT (CAST(:owners AS uuid[]))[1 + n % 10], sha256(n::text::bytea), '-', 'image/jpeg', 1, 1, 1,
                CASE WHEN n / 10 % 10 = 0 THEN 'rare' END
            FROM generate_series(1, :images) n RETURNING id, collection_id
        """),
        {"owners": owners, "images": IMAGES},
    )
    embeddings.upsert_embeddings(session, version.id, [(row.id, row.collection_id) for row in rows], near(rng, IMAGES))
    partitions.create_partition(session, version.id, DIM)
    scan_up_to(session, 100)


def near(rng: np.random.Generator, count: int) -> Vectors:
    """Vectors (count, DIM) that vary in some directions and hardly in the others, as those of pictures do."""
    basis = np.random.default_rng(1).normal(size=(DIRECTIONS, DIM))
    vectors = rng.normal(size=(count, DIRECTIONS)) @ basis + 0.2 * rng.normal(size=(count, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.usefixtures("gallery")
def test_recall_through_an_index_of_bits(session: Session, rng: np.random.Generator) -> None:
    """With the distances of the vectors; where too few candidates pass to tell the nearest, it is exact."""
    uncounted = Filter.model_validate({"any": [{"label": "rare"}, {"label": "none"}]})
    for scope, k, mode, ef_search in (
        (Scope(), 10, "hnsw", 100),
        (Scope(), 40, "hnsw", 400),
        (Scope(collection="few"), 10, "hnsw", 200),
        (Scope(filter=of_label("rare")), 10, "hnsw", 200),
        (Scope(filter=uncounted), 5, "hnsw", 200),
        (Scope(filter=uncounted), 50, "exact", None),
    ):
        recalls = []
        for query in near(rng, 12):
            found = nearest_images(session, query, k=k, scope=scope)
            exact = nearest_images(session, query, k=k, scope=scope, exact=True)
            assert (found.mode, found.ef_search, len(found.matches)) == (mode, ef_search, k)
            assert found.exhausted == (mode == "exact")
            assert found.matches == sorted(found.matches, key=lambda match: match.order)
            known = {match.image_id: match for match in exact.matches}
            assert all(known.get(match.image_id, match) == match for match in found.matches)
            recalls.append(len({match.image_id for match in found.matches} & known.keys()) / k)
        assert np.mean(recalls) >= 0.95, (scope, k)


@pytest.mark.usefixtures("gallery")
def test_pages_through_an_index_of_bits_to_the_end(session: Session, rng: np.random.Generator) -> None:
    """As far as candidates suffice they come through the index; behind that they are exact, and none is missing."""
    [query], size = near(rng, 1), 50
    exact = nearest_images(session, query, k=IMAGES, scope=Scope(), exact=True).matches
    found, modes, place = [], [], None
    while place is None or len(found) % size == 0:
        page = nearest_images(session, query, k=size, scope=Scope(), after=place)
        found, modes = found + page.matches, [*modes, page.mode]
        if not page.matches:
            break
        place = Place(found[-1].distance, found[-1].image_id, len(found))
    assert all(one.order < other.order for one, other in pairwise(found))
    assert modes[:4] + modes[4:6] == ["hnsw"] * 4 + ["exact"] * 2
    missed = {match.image_id for match in exact} - {match.image_id for match in found}
    assert len(missed) <= 0.05 * 4 * size
    behind = [match.image_id for match in exact if match.order > found[4 * size - 1].order]
    assert missed.isdisjoint(behind)
