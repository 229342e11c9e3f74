"""Pictures that are in a data set more than once: found, shown, and grouped so that no split parts them."""

from ml.data.duplicates.report import Finding, Leakage
from ml.data.duplicates.search import find_duplicates, pixel_similarities, quick_pixel_similarities

__all__ = ["Finding", "Leakage", "find_duplicates", "pixel_similarities", "quick_pixel_similarities"]
