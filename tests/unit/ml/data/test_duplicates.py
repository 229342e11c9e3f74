"""Duplicates: copies are found however they were changed, and pictures that only look alike are not."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from garden import draw_specimen
from ml.data.dataset import Dataset
from ml.data.duplicates import Leakage, find_duplicates
from ml.data.duplicates.detail import pixel_similarity
from ml.data.duplicates.links import LARGE, Links, linked, without_chains
from ml.data.duplicates.signatures import WINDOWS, likeness, mirrored, signatures, thumb, window_signatures
from tests.examples import examples

SPECIES, EACH = 4, 5


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return Image.open(out).convert("RGB")


def cropped(picture: Image.Image, share: float) -> Image.Image:
    """This share of each side lost, most of it at the left."""
    width, height = picture.size
    return picture.crop((round(width * share * 0.8), round(height * share / 2), width, round(height * (1 - share / 2))))


def signed(picture: Image.Image) -> Image.Image:
    picture = picture.copy()
    ImageDraw.Draw(picture).rectangle((100, 140, 155, 152), fill="white")
    return picture


CHANGES = {
    "smaller": lambda picture: picture.resize((64, 64), Image.Resampling.BICUBIC),
    "squashed": lambda picture: picture.resize((160, 100), Image.Resampling.BICUBIC),
    "recompressed": lambda picture: jpeg(picture, 50),
    "cropped by 5 %": lambda picture: cropped(picture, 0.05),
    "cropped by 10 %": lambda picture: cropped(picture, 0.1),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.75),
    "grey": lambda picture: ImageOps.grayscale(picture).convert("RGB"),
    "mirrored": ImageOps.mirror,
    "bordered": lambda picture: ImageOps.expand(picture, 6, "white"),
    "signed": signed,
    "all at once": lambda picture: jpeg(
        ImageEnhance.Brightness(ImageOps.mirror(cropped(picture, 0.08))).enhance(1.1), 60
    ),
}


@pytest.fixture(scope="module")
def garden() -> list[Image.Image]:
    """Specimens of a few species: many that look alike, no two the same."""
    return [draw_specimen(3, kind, number, size=160) for kind in range(SPECIES) for number in range(EACH)]


@pytest.fixture(scope="module")
def thumbs(garden) -> np.ndarray:
    return np.stack([thumb(np.asarray(picture)) for picture in garden])


def dataset_of(pictures, labels, sha256=None) -> Dataset:
    count = len(pictures)
    return Dataset(
        paths=[Path(f"/photos/kind{label}/{index}.jpg") for index, label in enumerate(labels)],
        pixels=[np.asarray(picture) for picture in pictures],
        sha256=sha256 or [f"{index:064x}" for index in range(count)],
        labels=np.asarray(labels, dtype=np.intp),
        folders=np.zeros(count, np.intp),
        classes=[f"kind{label}" for label in range(max(labels) + 1)],
        folder_names=["photos"],
        skipped=[],
        roots=[Path("/photos")],
    )


def blind(count: int) -> np.ndarray:
    """Embeddings that know nothing, so that pixels alone must find the candidates."""
    vectors = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def compared(one, other) -> tuple[np.ndarray, np.ndarray]:
    """Likeness and agreement of pairs of thumbs, the better of both ways."""
    found = []
    for first, second in ((one, other), (other, one)):
        alike, where = likeness(window_signatures(first), signatures(second))
        found.append((alike, pixel_similarity(first, second, where)))
    return tuple(np.maximum(*pair) for pair in zip(*found, strict=True))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_copy_agrees_with_its_original(garden, thumbs, change):
    copies = np.stack([thumb(np.asarray(change(picture))) for picture in garden])
    alike, agreed = compared(thumbs, copies)
    assert (alike > 0.6).mean() >= 0.9
    assert (agreed > 0.8).mean() >= 0.9


def test_specimens_of_one_species_do_not_agree(thumbs):
    pairs = [(i, j) for i in range(len(thumbs)) for j in range(i) if i // EACH == j // EACH]
    one, other = np.array(pairs).T
    assert compared(thumbs[one], thumbs[other])[1].max() < 0.75


def test_the_mirrored_signature_is_the_mirror_images(thumbs):
    np.testing.assert_allclose(mirrored(signatures(thumbs)), signatures(thumbs[:, :, ::-1]), atol=1e-4)


def test_a_crop_is_found_where_it_was_cut():
    thumbs = np.random.default_rng(0).integers(0, 256, (1, 64, 64), dtype=np.uint8)
    large = Image.fromarray(thumbs[0]).resize((640, 640), Image.Resampling.BICUBIC)
    alike, where = likeness(
        window_signatures(thumb(np.asarray(large.convert("RGB")))[None]),
        signatures(thumb(np.asarray(large.crop((128, 0, 640, 512)).convert("RGB")))[None]),
    )
    assert WINDOWS[where[0]] == pytest.approx((0, 0.2, 0.8, 0.8))
    assert alike[0] > 0.9


def test_a_plain_picture_is_like_no_other():
    plain = np.full((2, 64, 64), 128, np.uint8)
    assert np.abs(compared(plain, plain)[0]).max() == 0


def test_duplicates_are_found_grouped_and_told(garden, tmp_path):
    pictures = [*garden, garden[0], CHANGES["mirrored"](garden[0]), CHANGES["cropped by 10 %"](garden[7])]
    labels = [index // EACH for index in range(len(garden))] + [0, 0, 3]
    sha256 = [f"{index:064x}" for index in range(len(pictures))]
    sha256[20] = sha256[0]
    dataset = dataset_of(pictures, labels, sha256)

    found = find_duplicates(dataset, blind(len(pictures)))

    assert [one.members for one in found.findings] == [(7, 22), (0, 20, 21)]
    assert [(one.kind, one.across) for one in found.findings] == [("near", True), ("near", False)]
    assert (
        found.counts() | {"pictures": 23, "pictures_in_groups": 5, "groups": 2, "across_classes": 1} == found.counts()
    )
    assert found.grouped(dataset).groups.tolist() == found.groups.tolist()
    text = found.text(dataset)
    assert "5 of 23 pictures" in text
    assert "kind1/7.jpg and kind3/22.jpg" in text
    found.write(tmp_path / "report.json", dataset, {7: "train", 22: "validation"})
    members = json.loads((tmp_path / "report.json").read_text())["findings"][0]["members"]
    assert members[0] == {"folder": "photos", "path": "kind1/7.jpg", "label": "kind1", "role": "train"}
    assert found.contact_sheet(dataset).mode == "RGB"


def test_equal_files_are_exact(garden):
    sha256 = ["a", "b", "a", "c", "a"]
    found = find_duplicates(dataset_of([garden[index] for index in (0, 1, 0, 2, 0)], [0, 0, 0, 1, 1], sha256), blind(5))
    assert [(one.members, one.kind, one.across) for one in found.findings] == [((0, 2, 4), "exact", True)]


@pytest.mark.parametrize("count", [1, 2])
def test_few_pictures_without_duplicates(garden, count):
    dataset = dataset_of(garden[::EACH][:count], list(range(count)))
    found = find_duplicates(dataset, blind(count))
    assert found.findings == []
    assert found.text(dataset) == f"No duplicates among {count} pictures."
    assert found.contact_sheet(dataset).mode == "RGB"


def test_every_picture_needs_an_embedding(garden):
    with pytest.raises(ValueError, match="3 embeddings were given for 2"):
        find_duplicates(dataset_of(garden[:2], [0, 0]), blind(3))


pairs_of = st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=20)


@examples(30)
@given(pairs_of)
def test_groups_are_what_links_tie_together(pairs):
    groups = linked(15, np.array(pairs, dtype=np.intp).reshape(-1, 2))
    reached = {index: {index} for index in range(15)}
    for _ in range(15):
        for one, other in pairs:
            both = reached[one] | reached[other]
            for index in both:
                reached[index] = both
    assert all((groups[i] == groups[j]) == (j in reached[i]) for i in range(15) for j in range(15))


@examples(30)
@given(pairs_of, st.randoms())
def test_groups_do_not_depend_on_the_order_of_the_links(pairs, random):
    once = linked(15, np.array(pairs, dtype=np.intp).reshape(-1, 2))
    again = linked(15, np.array(random.sample(pairs, len(pairs)), dtype=np.intp).reshape(-1, 2))
    assert {frozenset(np.flatnonzero(once == group)) for group in once} == {
        frozenset(np.flatnonzero(again == group)) for group in again
    }


def chain(agreed: float, count: int = 3 * LARGE) -> Links:
    pairs = np.stack([np.arange(count - 1), np.arange(1, count)], 1)
    return Links(pairs, np.full(count - 1, agreed), np.ones(count - 1))


def test_a_long_chain_of_weak_links_falls_apart_and_one_of_copies_does_not():
    assert len(without_chains(3 * LARGE, chain(0.85)).pairs) == 0
    assert len(without_chains(3 * LARGE, chain(0.97)).pairs) == 3 * LARGE - 1
    assert len(without_chains(LARGE, chain(0.85, LARGE)).pairs) == LARGE - 1


def test_no_links_are_no_groups():
    none = Links(np.empty((0, 2), np.intp), np.empty(0), np.empty(0))
    assert linked(3, without_chains(3, none).pairs).tolist() == [0, 1, 2]
    assert Leakage([], np.arange(3)).counts()["groups"] == 0
