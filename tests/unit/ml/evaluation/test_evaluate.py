"""`umbel evaluate` from folders to a report, with a tiny model that nobody trained."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

from cli.evaluate import evaluate as command
from ml.card import Provenance
from ml.checkpoint import save_checkpoint
from ml.evaluation.embedding import embed_files
from ml.evaluation.intervals import NAMES
from ml.evaluation.models import load_model
from ml.preprocess import Preprocessing
from ml.runtime import load_embedder
from umbel.base.errors import BadCheckpoint, BadDataset, InvalidInput, ModelNotFound
from umbel.base.logging import configure_logging
from umbel.base.settings import Settings

SETTINGS = Settings(device="cpu", precision="fp32", runtime="torch")
PICTURES = ("roc.png", "similarities.png", "confusion.png", "queries.png", "map.png")


@pytest.fixture(autouse=True)
def plain_settings(monkeypatch) -> None:
    monkeypatch.setattr("cli.evaluate.settings", lambda: SETTINGS)
    configure_logging(SETTINGS)  # as `umbel` does before any command: the log is not for stdout


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    provenance = Provenance(data=[], start="random", created_at="2026-01-01T00:00:00Z")
    save_checkpoint(path, network, name="tiny", preprocessing=Preprocessing(size=48), provenance=provenance)
    return path


@pytest.fixture(scope="module")
def backbone(network, tmp_path_factory) -> Path:
    """As timm would save it."""
    path = tmp_path_factory.mktemp("backbone") / "plain.safetensors"
    save_file(network.backbone.state_dict(), path)
    return path


def run(*arguments: object) -> str:
    done = CliRunner().invoke(command, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_report_and_its_pictures(make_folder, tmp_path, checkpoint, backbone):
    folder, unseen = make_folder(3, 5), make_folder(2, 4, "unseen")
    (folder / "kind0" / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    shutil.copy(folder / "kind1" / "0.jpg", folder / "kind1" / "copy.jpg")
    out = tmp_path / "deep" / "report"
    options = ("--checkpoint", checkpoint, "--against", backbone, "--bootstrap", 20, "--out", out, "--json")

    report = json.loads(run(folder, "--held-out", unseen, *options))

    assert report == json.loads((out / "evaluation.json").read_text())
    assert [(one["name"], one["kind"], one["pictures"]) for one in report["sets"]] == [
        ("shapes", "closed set", 15),
        ("unseen", "held-out classes", 8),
    ]
    for one in report["sets"]:
        assert tuple(one["metrics"]) == NAMES
        for figure in (*one["metrics"].values(), *one["against"][0]["metrics"].values()):
            assert 0 <= figure["low"] <= figure["high"] <= 1
        for name, figure in one["against"][0]["difference"].items():
            points = one["metrics"][name]["point"], one["against"][0]["metrics"][name]["point"]
            assert figure["point"] == pytest.approx(points[0] - points[1], abs=2e-5)
    assert (report["model"]["name"], report["model"]["dim"]) == ("tiny", 32)
    assert (report["against"][0]["name"], report["against"][0]["dim"]) == ("plain", 1280)
    assert report["against"][0]["preprocessing_hash"] == report["model"]["preprocessing_hash"]
    assert report["data"]["left_out"] == {"trained_on": 0, "duplicates": 1, "unreadable": 1}
    assert "broken.jpg" in report["data"]["skipped"][0]["path"]
    card = (out / "card.md").read_text()
    for name in (*PICTURES, "confusion-2.png", "queries-2.png", "map-2.png"):
        assert f"({name})" in card
        with Image.open(out / name) as picture:
            picture.load()
            assert 500 < min(picture.size) <= max(picture.size) < 2500


def test_queries_are_judged_against_their_gallery(make_folder, tmp_path, checkpoint):
    queries, gallery, out = make_folder(3, 4, "asked"), make_folder(4, 7, "shelf"), tmp_path / "report"
    shutil.rmtree(gallery / "kind0")  # nothing for a third of the queries
    for path in [*gallery.glob("kind1/[0-3].jpg"), *gallery.glob("kind2/[0-3].jpg")]:
        path.write_bytes((gallery / "kind3" / path.name).read_bytes() + path.parent.name.encode())
    options = ("--checkpoint", checkpoint, "--against", checkpoint, "--bootstrap", 20, "--out", out)

    seen = " ".join(run("--queries", queries, "--gallery", gallery, *options).split())

    (one,) = json.loads((out / "evaluation.json").read_text())["sets"]
    assert (one["kind"], one["asking"], one["queries"], one["gallery"]) == ("queries and gallery", 12, 8, 21)
    assert one["pairs"] == {"same": 2 * 4 * 7, "different": 12 * 21 - 2 * 4 * 7, "intervals_by_draw": False}
    assert {row["label"]: row["right"] is None for row in one["per_class"]} == {
        "kind0": True,
        "kind1": False,
        "kind2": False,
        "kind3": True,
    }
    for figure in one["metrics"].values():
        assert 0 <= figure["low"] <= figure["high"] <= 1
    card = (out / "card.md").read_text()
    told = "12 queries, 8 of them with their class in the gallery, which has 21 pictures; 4 classes"
    assert told in card
    assert "no query is found" in card
    assert "asked in shelf, queries and gallery: 12 queries, 21 pictures in the gallery, 4 classes" in seen
    assert "4 of these have no other of their class to find" in seen
    for name in PICTURES:
        with Image.open(out / name) as picture:
            picture.load()


def test_queries_and_gallery_go_together(make_folder):
    for flag in ("--queries", "--gallery"):
        done = CliRunner().invoke(command, [flag, str(make_folder(2, 2, flag[2:]))])
        assert done.exit_code == 2
        assert "go together" in done.output


def test_the_same_seed_gives_the_same_figures(make_folder, checkpoint):
    options = (make_folder(3, 4), "--checkpoint", checkpoint, "--bootstrap", 15, "--seed", 3, "--json")

    first, second = (json.loads(run(*options))["sets"] for _ in range(2))

    assert first == second


def test_the_embeddings_are_those_of_workers(make_folder, checkpoint):
    worker, paths = load_model(checkpoint, SETTINGS), sorted(make_folder(3, 4).rglob("*.jpg"))

    (vectors,), skipped = embed_files(paths, [worker], SETTINGS)

    assert (skipped, vectors.shape) == ([], (12, 32))
    assert (vectors[5] * worker.embed([worker.decode(paths[5].read_bytes())])[0]).sum() > 0.999


@pytest.mark.slow
def test_the_runtime_judged_is_the_one_that_workers_choose(checkpoint, tmp_path):
    settings = Settings(home=tmp_path, device="cpu", checkpoint=checkpoint)

    assert load_model(checkpoint, settings).description == load_embedder(settings).description
    assert load_model(checkpoint, settings).runtime == "openvino"
    assert load_model(checkpoint, settings.model_copy(update={"runtime": "torch"})).runtime == "torch"


def test_people_see_tables_and_what_was_left_out(make_folder, checkpoint, tmp_path):
    folder = make_folder(3, 4)
    (folder / "kind0" / "notes.txt").write_text("no picture")

    seen = run(folder, "--checkpoint", checkpoint, "--against", checkpoint, "--bootstrap", 0)

    assert "tiny on shapes, closed set: 12 pictures, 3 classes" in seen
    assert "… against tiny (2)" in seen
    for words in ("R@1", "R-precision", "TAR at FAR 0.1 %", "No --split", "Skipped", "notes.txt"):
        assert words in seen


def test_a_split_leaves_only_what_was_not_trained_on(make_folder, checkpoint, tmp_path):
    from ml.data.dataset import load_dataset  # noqa: PLC0415

    folder = make_folder(4, 6)
    dataset = load_dataset([folder], Settings())
    roles = [
        "held-out" if label > 1 else "validation" if index % 2 else "train"
        for index, label in enumerate(dataset.labels)
    ]
    pictures = [{"sha256": sha, "role": role} for sha, role in zip(dataset.sha256, roles, strict=True)]
    split = tmp_path / "tiny.split.json"
    split.write_text(json.dumps({"version": 1, "seed": 1, "pictures": pictures[1:]}))

    report = json.loads(run(folder, "--checkpoint", checkpoint, "--split", split, "--bootstrap", 5, "--json"))

    sizes = {one["name"]: (one["pictures"], one["classes"]) for one in report["sets"]}
    assert sizes == {"shapes": (7, 2), "held-out classes": (12, 2)}
    assert report["data"]["left_out"]["trained_on"] == 5
    assert report["data"]["unknown_to_the_split"] == 1


def test_classes_of_a_single_picture_distract(make_folder, checkpoint):
    folder = make_folder(3, 4)
    for number in (1, 2, 3):
        (folder / "kind2" / f"{number}.jpg").unlink()

    (one,) = json.loads(run(folder, "--checkpoint", checkpoint, "--bootstrap", 5, "--json"))["sets"]

    assert (one["pictures"], one["queries"], one["classes"]) == (9, 8, 3)
    assert [row["r_at_1"] is None for row in one["per_class"]] == [False, False, True]


def test_what_cannot_be_judged_is_told(make_folder, checkpoint, tmp_path, backbone):
    folder, options = make_folder(2, 2), ("--checkpoint", checkpoint)
    for path in (
        tmp_path / "noise" / "a" / "0.jpg",
        tmp_path / "noise" / "b" / "0.jpg",
        tmp_path / "noise" / "b" / "1.jpg",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(str(path).encode())
    (tmp_path / "file").touch()

    for error, words, arguments in (
        (BadDataset, "None of the 3 files can be read", (tmp_path / "noise", *options)),
        (ModelNotFound, "no checkpoint", (folder, "--checkpoint", tmp_path / "none.safetensors")),
        (BadCheckpoint, "no card", (folder, "--checkpoint", backbone)),
        (ModelNotFound, "no checkpoint", (folder, *options, "--against", tmp_path / "none.safetensors")),
        (BadCheckpoint, "no safetensors file", (folder, *options, "--against", folder / "kind0" / "0.jpg")),
        (BadDataset, "No such file", (folder, *options, "--split", tmp_path / "none.json")),
        (InvalidInput, "Nothing can be written", (folder, *options, "--out", tmp_path / "file" / "out")),
    ):
        with pytest.raises(error, match=words):
            run(*arguments)


def test_a_call_without_a_folder_is_wrong_usage():
    assert CliRunner().invoke(command, []).exit_code == 2
