"""A gallery whose kinds lie apart, for calibrations."""

from uuid import UUID

import numpy as np

from tests.integration.factory import DIM, Factory, unit
from umbel.base.tables import ModelVersion
from umbel.base.types import Vector

KINDS = ("hammer", "wrench", "pliers", "saw", "drill", "file")


def near(kind: int, number: int) -> Vector:
    """A picture of a kind: kinds are axes, and pictures lie about 0.1 from theirs."""
    vector = np.eye(DIM, dtype=np.float32)[kind] + 0.4 * unit(1000 * kind + number)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def tools(make: Factory, version: ModelVersion, *, each: int = 8, collection: str = "tools") -> list[UUID]:
    """So many labelled pictures of each kind, kind by kind."""
    return [
        make.image(vector=near(kind, number), version=version, label=label, collection=collection)
        for kind, label in enumerate(KINDS)
        for number in range(each)
    ]
