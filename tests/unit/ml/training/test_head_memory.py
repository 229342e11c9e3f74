"""Many classes: what they take is told before, and refused where there is no room."""

from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest
import torch

from ml.training.arcface import ArcFace
from ml.training.head_memory import check_head, head_bytes
from ml.training.recipe import Recipe
from umbel.base.errors import InvalidInput

CPU = torch.device("cpu")


@pytest.fixture
def free(monkeypatch):
    return lambda bytes_: monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=bytes_))


def test_few_classes_are_not_worth_a_word(free):
    free(10**9)

    assert check_head(51, Recipe(), CPU) is None


def test_what_many_classes_take_is_told(free):
    free(64 * 10**9)

    assert check_head(50_000, Recipe(), CPU) == "50,000 classes take 0.5 GB while they are trained on."
    assert "above 100,000" in (check_head(200_000, Recipe(), CPU) or "")


def test_classes_without_room_are_refused_with_what_to_do(free):
    free(10**9)

    with pytest.raises(InvalidInput, match=r"500,000 classes take 5\.\d GB .* 1\.0 GB are free; lower --dim"):
        check_head(500_000, Recipe(), CPU)


def test_the_centers_are_counted_with_gradient_and_moments():
    recipe = replace(Recipe(), dim=8, centers=2, batch_size=2)
    head = ArcFace(1000, 8, centers=2)
    optimizer = torch.optim.AdamW(head.parameters())
    head(torch.randn(2, 8), torch.tensor([0, 1])).backward()
    optimizer.step()

    moments = [one for one in optimizer.state[head.weight].values() if one.ndim]
    held = sum(one.nbytes for one in (head.weight, head.weight.grad, *moments))
    assert held == 4 * 4 * 1000 * 2 * 8
    assert held < head_bytes(1000, recipe) < 2 * held


def test_no_square_of_the_classes_is_held():
    head = ArcFace(30_000, 4, folders=torch.arange(30_000) % 2)

    assert sum(one.nbytes for one in [*head.parameters(), *head.buffers()]) < 10**6
