"""What tests of several views have in common."""

import re

from playwright.sync_api import Page

from garden import SampleGarden
from tests.browser.gallery import SPECIES

LABELS = [SampleGarden().name(species) for species in range(SPECIES)]
VIEWS = ("gallery", "add", "search", "identify", "map", "duplicates", "jobs", "trash", "admin")
# Of Admin, beside its first.
TABS = ("reindex", "recall", "curation", "sources", "collections", "keys", "webhooks", "audit", "health")
OWN_LABELS = {0: "found outside", 2: "from-a-zip|below a path"}  # of these species, that tests give what they add
PATIENCE = 40_000  # ms, for what a worker does


def file(name: str, data: bytes) -> dict[str, object]:
    return {"name": name, "mimeType": "image/jpeg", "buffer": data}


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.tagName + ' ' + document.activeElement.textContent.trim()"))


def kind(species: int) -> re.Pattern[str]:
    """What a picture of the species may be labelled, whichever tests came before."""
    return re.compile("|".join([LABELS[species], *OWN_LABELS.get(species, "").split("|")]).rstrip("|"))
