"""Pictures that are in a data set more than once: found, shown, and grouped so that no split parts them."""

from ml.leakage.report import Finding, Leakage
from ml.leakage.search import agreements, find_duplicates, quick_agreements

__all__ = ["Finding", "Leakage", "agreements", "find_duplicates", "quick_agreements"]
