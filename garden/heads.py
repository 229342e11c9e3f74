"""Whole flower heads, by the way their parts are put together."""

from garden.blooms import paint_face, paint_ring, paint_spiral
from garden.drawing import Easel
from garden.forms import Head
from garden.inflorescences import paint_cluster, paint_globe, paint_spike, paint_umbel
from garden.solids import paint_bells
from garden.species import Species
from garden.view import Pose

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
