"""Whole flower heads, by the way their parts are put together."""

from ml.garden.blooms import paint_face, paint_ring, paint_spiral
from ml.garden.drawing import Easel
from ml.garden.forms import Head
from ml.garden.inflorescences import paint_cluster, paint_globe, paint_spike, paint_umbel
from ml.garden.solids import paint_bells
from ml.garden.species import Species
from ml.garden.view import Pose

PAINTERS = {
    Head.RING: paint_ring,
    Head.SPIRAL: paint_spiral,
    Head.FACE: paint_face,
    Head.UMBEL: paint_umbel,
    Head.GLOBE: paint_globe,
    Head.SPIKE: paint_spike,
    Head.BELLS: paint_bells,
    Head.CLUSTER: paint_cluster,
}


def paint_head(easel: Easel, species: Species, pose: Pose) -> None:
    """Paint one flower head of the species, `pose.radius` pixels from its centre to its rim."""
    PAINTERS[species.body.form.head](easel, species, pose)
