"""Models as people name them."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from umbel_client import Model

from cli.model_names import find_model, short_ids
from umbel.base.errors import InvalidInput, NotFound

IDS = (
    "01a21513-04f7-77f3-976c-24842e354870",
    "01a21513-75f7-7aaa-976c-24842e354870",
    "01a2150f-90eb-7c49-9591-4acfa9966ebf",
)


def models() -> list[Model]:
    common = {"architecture": "none", "dim": 8, "weights_sha256": "", "preprocessing_hash": "", "metrics": {}}
    common |= {"replaced": None, "created_at": datetime.now(UTC), "activated_at": None, "state": "ready"}
    names = ("petals", "petals", "umbel-b0")
    return [Model.decode({**common, "id": id_, "name": name}) for id_, name in zip(IDS, names, strict=True)]


@pytest.mark.parametrize("named", ["umbel-b0", IDS[2], IDS[2].upper(), "01a2150"])
def test_by_id_by_its_beginning_and_by_name(named: str) -> None:
    assert find_model(models(), named).id == UUID(IDS[2])


@pytest.mark.parametrize("named", ["petals", "01a2", "01a21513"])
def test_what_may_be_several_is_told_with_ids_that_tell_them_apart(named: str) -> None:
    with pytest.raises(InvalidInput, match=r"01a21513-0.*01a21513-7"):
        find_model(models(), named)


@pytest.mark.parametrize("named", ["roses", "ffff", "petal"])
def test_what_is_none(named: str) -> None:
    with pytest.raises(NotFound, match=named):
        find_model(models(), named)


def test_short_ids_are_as_long_as_it_takes() -> None:
    assert short_ids(models()) == ["01a21513-0", "01a21513-7", "01a2150f-9"]
    assert short_ids([]) == []
