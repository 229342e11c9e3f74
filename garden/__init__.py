"""The sample garden: any number of labelled pictures of flowers that grow nowhere, always the same ones.

Pillow and NumPy only. A species is a build, a palette and a name; a specimen is one picture of it, with its own pose,
light, company and background.
"""

from garden.planting import Plan, SampleGarden, draw_garden, image_path, is_drawn
from garden.scene import draw_specimen
from garden.species import Species, species_of

__all__ = ["Plan", "SampleGarden", "Species", "draw_garden", "draw_specimen", "image_path", "is_drawn", "species_of"]
