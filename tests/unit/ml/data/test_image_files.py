"""Images that are decoded each time are those that would have been kept."""

from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from ml.data.dataset import load_dataset
from ml.data.image_files import ImageFiles
from ml.data.pixel_store import PixelStore, has_room


def test_what_is_decoded_anew_is_what_would_have_been_kept(make_folder, limits):
    folder = make_folder()
    (folder / "kind0" / "broken.jpg").write_bytes(b"no image")

    kept, anew = (load_dataset([folder], limits, side=48, keep=keep) for keep in (True, False))

    assert isinstance(anew.pixels, ImageFiles)
    assert (anew.paths, anew.sha256, anew.skipped) == (kept.paths, kept.sha256, kept.skipped)
    assert len(anew.pixels) == len(kept.pixels) == 18
    for number in range(18):
        np.testing.assert_array_equal(anew.pixels[number], kept.pixels[number])
        np.testing.assert_array_equal(anew.served[number], kept.served[number])


@pytest.mark.parametrize(("free", "kind"), [(2**30, PixelStore), (2**16, ImageFiles)])
def test_images_are_kept_where_memory_and_disk_have_room_for_them(make_folder, limits, monkeypatch, free, kind):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    monkeypatch.setattr(psutil, "disk_usage", lambda path: SimpleNamespace(free=free))

    assert isinstance(load_dataset([make_folder()], limits).pixels, kind)


def test_a_hundred_thousand_images_take_twenty_six_gigabytes(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=0))
    for disk, room in ((4 * 26e9, False), (4 * 27e9, True)):
        monkeypatch.setattr(psutil, "disk_usage", lambda path, disk=disk: SimpleNamespace(free=disk))
        assert has_room(100_000, 256) == room
