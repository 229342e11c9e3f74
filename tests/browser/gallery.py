"""Something to look at: a stack with a small garden in which there are copies, wrong labels and a failure."""

import io

import httpx
from PIL import Image, ImageEnhance

from garden import SampleGarden
from tests.stacks import Stack

SPECIES = 4
UNSEEN = 900  # a specimen that no garden has


def specimen(species: int, number: int = UNSEEN) -> bytes:
    """A picture of a species that is not in the gallery itself."""
    return SampleGarden().draw(species, number)


def plant(stack: Stack, *, species: int = SPECIES, per_species: int = 8, size: int = 320) -> None:
    """The sample garden as the page asks for it; waits until it can be searched."""
    source = {"type": "sample", "species": species, "per_species": per_species, "size": size}
    done(stack, begun(stack, "/v1/imports", {"source": source, "collection": "garden"}))


def spoil(stack: Stack) -> None:
    """Two copies, two wrong labels and a file that is no picture; compared."""
    garden, broken = SampleGarden(), {"file": b"\xff\xd8 no picture"}
    with httpx.Client(base_url=stack.url, timeout=30) as api:
        for number in (1, 2):
            copy = Image.open(io.BytesIO(garden.draw(0, number)))
            out = io.BytesIO()
            ImageEnhance.Brightness(copy).enhance(1.1).save(out, "JPEG", quality=80)
            sent = {"collection": "garden", "label": garden.name(0), "name": f"copy-{number}.jpg"}
            api.post("/v1/images", data=sent, files={"file": out.getvalue()}).raise_for_status()
        wrong = {"collection": "garden", "label": garden.name(3), "name": "mislabelled.jpg"}
        accepted = api.post("/v1/images", data=wrong, files={"file": specimen(1, UNSEEN + 1)}).json()
        job = api.post("/v1/imports", json={"source": {"type": "upload"}, "collection": "garden"}).json()["job_id"]
        api.post("/v1/images", data={"name": "broken.jpg", "job_id": job, "collection": "garden"}, files=broken)
        api.post(f"/v1/jobs/{job}/close").raise_for_status()
    done(stack, accepted["job_id"])
    done(stack, begun(stack, "/v1/duplicates", {}))


def begun(stack: Stack, path: str, body: dict[str, object]) -> str:
    answer = httpx.post(stack.url + path, json=body, timeout=30)
    answer.raise_for_status()
    return str(answer.json()["job_id"])


def done(stack: Stack, job: str) -> None:
    """Wait for the end of a job that must succeed."""
    for _ in range(10):
        found = httpx.get(f"{stack.url}/v1/jobs/{job}", params={"wait": 30}, timeout=40).json()
        if found["finished_at"]:
            break
    assert found["status"] == "succeeded", found
