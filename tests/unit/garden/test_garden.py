"""The sample garden: always the same pictures, labelled, varied, and quickly there the second time."""

import hashlib
import io
import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cli.sample import sample
from garden import Plan, draw_garden, draw_specimen, image_path, is_drawn, species_of
from garden.catalog import FORMS, Head
from garden.species import species_name
from tests.examples import examples
from umbel.base.errors import InvalidInput

SMALL = {"species": 3, "per_species": 2, "seed": 5, "size": 48}


def digests(directory: Path) -> dict[str, str]:
    """What every picture below a folder is made of, by its path."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*.jpg")
    }


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    list(draw_garden(tmp_path / "one", **SMALL, processes=1))
    list(draw_garden(tmp_path / "two", **SMALL, processes=1))
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_other_processes_draw_the_same_bytes(tmp_path):
    alone = list(draw_garden(tmp_path / "alone", **SMALL, processes=1))
    together = list(draw_garden(tmp_path / "together", **SMALL, processes=2))
    assert [path.relative_to(tmp_path / "together") for path in together] == [
        path.relative_to(tmp_path / "alone") for path in alone
    ]
    assert digests(tmp_path / "alone") == digests(tmp_path / "together")


def test_a_processor_with_other_instructions_draws_the_same_pictures():
    script = (
        "import hashlib; from garden import draw_specimen; "
        "print(hashlib.sha256(b''.join(draw_specimen(7, s, 1, size=64).tobytes() for s in range(22))).hexdigest())"
    )
    plain = {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR AVX2 FMA3 AVX512F AVX512_SKX ASIMDHP"}
    root = Path(__file__).parents[3]
    answers = {
        subprocess.run(
            [sys.executable, "-c", script], cwd=root, env=env, capture_output=True, text=True, check=True
        ).stdout
        for env in ({"PYTHONPATH": str(root)}, {"PYTHONPATH": str(root), **plain})
    }
    assert len(answers) == 1


def test_a_picture_does_not_depend_on_how_many_are_drawn(tmp_path):
    list(draw_garden(tmp_path / "few", species=2, per_species=1, seed=5, size=48))
    list(draw_garden(tmp_path / "more", species=4, per_species=2, seed=5, size=48))
    few, more = digests(tmp_path / "few"), digests(tmp_path / "more")
    assert few.items() <= more.items()


def test_each_species_has_a_folder_of_its_name(tmp_path):
    paths = list(draw_garden(tmp_path, **SMALL))
    names = [species_of(5, index).name for index in range(3)]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == sorted(names)
    assert [path.relative_to(tmp_path) for path in paths] == [
        Path(name, f"{name}-000{number}.jpg") for name in names for number in (1, 2)
    ]


def test_pictures_are_plain_upright_jpegs(tmp_path):
    for path in draw_garden(tmp_path, **SMALL):
        with Image.open(path) as image:
            image.load()
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (48, 48))
            assert not image.getexif()


@examples(25)
@given(
    seed=st.integers(0, 2**40),
    species=st.integers(0, 10_000),
    specimen=st.integers(0, 100_000),
    size=st.integers(32, 80),
)
def test_any_specimen_of_any_garden_can_be_drawn(seed, species, specimen, size):
    image = draw_specimen(seed, species, specimen, size=size)
    assert (image.mode, image.size) == ("RGB", (size, size))
    assert np.asarray(image).std() > 3


@pytest.mark.parametrize("head", Head)
def test_every_kind_of_head_is_drawn(head):
    index = next(index for index in range(4 * len(FORMS)) if species_of(7, index).body.form.head is head)
    assert draw_specimen(7, index, 0, size=64).size == (64, 64)


def test_names_never_repeat():
    names = [species_of(7, index).name for index in range(1500)]
    names += [species_name(3, index, ("cup", "star", "eye")) for index in range(1500)]
    assert len(set(names[:1500])) == len(set(names[1500:])) == 1500
    assert all(name.replace("-", "").isascii() and name == name.lower() for name in names)


def test_specimens_of_a_species_all_differ():
    images = {draw_specimen(7, 0, specimen, size=40).tobytes() for specimen in range(8)}
    assert len(images) == 8


def test_neighbours_share_a_palette_or_a_build_but_never_both():
    for index in range(0, 80, 4):
        first, second, third, fourth = (species_of(7, index + offset) for offset in range(4))
        assert first.palette == second.palette
        assert first.body != second.body
        assert fourth.body == species_of(7, index).body
        assert fourth.palette not in (first.palette, third.palette)


def test_colours_vary_between_the_specimens_of_one_species():
    means = np.array([np.asarray(draw_specimen(7, 2, n, size=40), float).mean(axis=(0, 1)) for n in range(8)])
    assert (means.std(axis=0) > 4).all()


def test_another_seed_is_another_garden():
    assert {species_of(1, index).name for index in range(12)} != {species_of(2, index).name for index in range(12)}


def test_a_finished_garden_is_recognised(tmp_path):
    assert not is_drawn(tmp_path, Plan(**SMALL))
    list(draw_garden(tmp_path, **SMALL))
    assert is_drawn(tmp_path, Plan(**SMALL))
    assert not is_drawn(tmp_path, Plan(**SMALL | {"size": 64}))
    (tmp_path / image_path(5, 1, 1)).unlink()
    assert not is_drawn(tmp_path, Plan(**SMALL))


def test_an_interrupted_garden_is_not_taken_for_finished(tmp_path):
    drawing = draw_garden(tmp_path, **SMALL, processes=1)
    next(drawing)
    drawing.close()
    assert not is_drawn(tmp_path, Plan(**SMALL))


@pytest.mark.parametrize("manifest", [b"", b"[]", b"{", b'{"seed": "x"}', b'{"species": -1}', b"\xff\xfe"])
def test_a_damaged_manifest_does_no_harm(tmp_path, manifest):
    (tmp_path / "garden.json").write_bytes(manifest)
    assert not is_drawn(tmp_path, Plan(**SMALL))
    assert len(list(draw_garden(tmp_path, **SMALL))) == 6


def test_a_smaller_garden_leaves_nothing_of_the_larger_but_what_is_not_its_own(tmp_path):
    list(draw_garden(tmp_path, species=3, per_species=2, seed=5, size=32))
    own = tmp_path / species_of(5, 2).name / "my-own.jpg"
    own.write_bytes(b"mine")
    list(draw_garden(tmp_path, species=1, per_species=1, seed=5, size=32))
    assert set(tmp_path.rglob("*.jpg")) == {tmp_path / image_path(5, 0, 0), own}
    assert not (tmp_path / species_of(5, 1).name).exists()


@pytest.mark.parametrize(
    "wrong", [{"species": 0}, {"per_species": 0}, {"seed": -1}, {"size": 16}, {"size": 5000}, {"species": 1.5}]
)
def test_numbers_out_of_range_are_refused_before_anything_is_written(tmp_path, wrong):
    with pytest.raises(InvalidInput):
        draw_garden(tmp_path / "garden", **SMALL | wrong)
    assert not (tmp_path / "garden").exists()


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidInput, match="cannot draw into"):
        draw_garden(tmp_path / "file" / "garden", **SMALL)


def test_the_command_draws_once_and_says_so(tmp_path):
    arguments = [str(tmp_path / "garden"), "--species", "2", "--per-species", "2", "--size", "40", "--json"]
    first, second = (json.loads(CliRunner().invoke(sample, arguments).stdout) for _ in range(2))
    assert (first["pictures"], first["drawn"], second["drawn"]) == (4, 4, 0)
    assert first["names"] == [species_of(7, index).name for index in range(2)]
    told = CliRunner().invoke(sample, arguments[:-1])
    assert (told.exit_code, "already holds" in told.stdout) == (0, True)


@pytest.mark.parametrize("wrong", [["--species", "0"], ["--per-species", "x"], ["--size", "8"], ["--seed", "-1"]])
def test_wrong_usage_of_the_command_exits_2(tmp_path, wrong):
    assert CliRunner().invoke(sample, [str(tmp_path), *wrong]).exit_code == 2


def test_pictures_stay_small_files():
    stream = io.BytesIO()
    draw_specimen(7, 4, 0).save(stream, "JPEG", quality=90)
    assert 4_000 < len(stream.getvalue()) < 60_000


def test_the_garden_needs_no_torch():
    code = "import sys, garden; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False).returncode == 0


def test_no_drawing_process_outlives_an_abandoned_garden(tmp_path):
    drawing = draw_garden(tmp_path, species=4, per_species=8, seed=1, size=32, processes=2)
    next(drawing)
    drawing.close()
    assert not multiprocessing.active_children()
