"""The ways into the gallery, each run on a folder by real processes: what became of every file in it."""

import csv
import io
import json
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx

from tests.processes import UMBEL, eventually

BUCKET = "field"
TAKEN, REFUSED = "taken", "refused"
REFUSALS = (413, 415, 422)


@dataclass(frozen=True, slots=True)
class Outcome:
    """status: taken or refused. late: refused only after the file had been taken. code: None, not told."""

    status: str
    code: str | None = None
    reason: str = ""
    image: dict[str, Any] | None = None
    late: bool = False


Outcomes = dict[str, Outcome]
"""By the name of each file, relative to the folder; what was skipped is missing."""


class Service:
    """An API and a worker that may read everything below `home`, and a bucket."""

    def __init__(self, url: str, home: Path, s3_endpoint: str) -> None:
        self.url, self.home = url, home
        self.s3 = boto3.client("s3", endpoint_url=s3_endpoint)
        self.http = httpx.Client(base_url=url, timeout=90, trust_env=False)
        self.skipped = 0  # files, by the last import
        self._runs = 0

    def collection(self) -> str:
        """The name of one that has not been used yet, so that every way finds all files new."""
        self._runs += 1
        return f"run-{self._runs}"

    def finished(self, job_id: str) -> dict[str, Any]:
        def look() -> dict[str, Any]:
            job = self.http.get(f"/v1/jobs/{job_id}", params={"wait": 30}).json()
            return dict(job) if job["finished_at"] else {}

        return eventually(look, within=120)

    def images(self, collection: str) -> list[dict[str, Any]]:
        found, query = [], {"collection": collection, "limit": 200}
        while True:
            page = self.http.get("/v1/images", params=query).raise_for_status().json()
            found += page["items"]
            if not page.get("next_cursor"):
                return found
            query["cursor"] = page["next_cursor"]

    def failures(self, job_id: str) -> list[dict[str, Any]]:
        query = {"status": "failed", "limit": 200}
        return list(self.http.get(f"/v1/jobs/{job_id}/items", params=query).raise_for_status().json()["items"])


def files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name and path of every file, also of those whose names are no Unicode."""
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            yield str(path.relative_to(folder)), path


def uploaded(service: Service, folder: Path) -> Outcomes:
    """Each file by `POST /v1/images`, as a program of its own does it."""
    collection = service.collection()

    def post(file: tuple[str, Path]) -> tuple[str, httpx.Response]:
        name, path = file
        answer = service.http.post(
            "/v1/images", files={"file": ("upload", path.read_bytes())}, data={"collection": collection, "name": name}
        )
        return name, answer

    with ThreadPoolExecutor(8) as senders:
        answers = dict(senders.map(post, files_below(folder)))
    found = {name: _refusal(answer) for name, answer in answers.items() if answer.status_code in REFUSALS}
    for name, answer in answers.items():
        if name not in found:
            answer.raise_for_status()
            job = service.finished(answer.json()["job_id"])
            for item in service.failures(job["id"]):
                found[name] = Outcome(REFUSED, item["error_code"], item["error"], late=True)
    return _with_images(service, collection, found, lambda name: name)


def searched(service: Service, folder: Path) -> Outcomes:
    """Each file as the picture of a search."""

    def post(file: tuple[str, Path]) -> tuple[str, Outcome]:
        name, path = file
        answer = service.http.post("/v1/search", files={"file": ("query", path.read_bytes())})
        if answer.status_code in REFUSALS:
            return name, _refusal(answer)
        answer.raise_for_status()
        return name, Outcome(TAKEN)

    with ThreadPoolExecutor(8) as senders:
        return dict(senders.map(post, files_below(folder)))


def from_here(service: Service, folder: Path, *, label_from_folder: bool = False) -> Outcomes:
    """`umbel import FOLDER`."""
    collection, labelled = service.collection(), ["--label-from-folder"] * label_from_folder
    done = command(service, "import", folder, "--collection", collection, "--wait", "--json", *labelled)
    told = json.loads(done.stdout)
    service.skipped = told["not_images"]
    found = {_below(name): Outcome(REFUSED, None, reason) for name, reason in told["rejected"].items()}
    for job in told["jobs"]:
        for item in service.failures(job["id"]):
            name = _below(item["name"])
            late = name not in found
            found[name] = Outcome(REFUSED, item["error_code"], item["error"], late=late)
    return _with_images(service, collection, found, _below)


def on_server(service: Service, folder: Path, **options: bool) -> Outcomes:
    return _imported(service, json={"source": {"type": "folder", "path": str(folder)}, **options})


def zipped(service: Service, folder: Path, **options: bool) -> Outcomes:
    return _imported(service, file=("pictures.zip", zip_of(folder)), **options)


def tarred(service: Service, folder: Path, **options: bool) -> Outcomes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, path in files_below(folder):
            archive.add(path, name)
    return _imported(service, file=("pictures.tar.gz", out.getvalue()), **options)


def from_bucket(service: Service, folder: Path, **options: bool) -> Outcomes:
    prefix = service.collection()
    with ThreadPoolExecutor(8) as senders:
        put = [
            senders.submit(service.s3.put_object, Bucket=BUCKET, Key=f"{prefix}/{name}", Body=path.read_bytes())
            for name, path in files_below(folder)
        ]
        for each in put:
            each.result()
    return _imported(service, json={"source": {"type": "s3", "url": f"s3://{BUCKET}/{prefix}"}, **options})


def listed(service: Service, folder: Path, **options: bool) -> Outcomes:
    """A list that names every file."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["path"])
    writer.writerows([name] for name, _ in files_below(folder))
    return _imported(service, file=("list.csv", out.getvalue().encode()), base=str(folder), **options)


Way = Callable[..., Outcomes]
WAYS: dict[str, Way] = {
    "HTTP": uploaded,
    "search": searched,
    "command": from_here,
    "server": on_server,
    "zip": zipped,
    "tar": tarred,
    "bucket": from_bucket,
    "list": listed,
}


def command(service: Service, *arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """`umbel …`, as a user types it."""
    return subprocess.run(
        [*UMBEL, *map(str, arguments)],
        env={**os.environ, "UMBEL_URL": service.url, "NO_PROXY": "*", **environment},
        capture_output=True, text=True, errors="surrogateescape", check=False, timeout=120,
    )  # fmt: skip


def zip_of(folder: Path) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, path in files_below(folder):
            archive.write(path, name)
    return out.getvalue()


def _imported(
    service: Service, *, json: dict[str, Any] | None = None, file: tuple[str, bytes] | None = None, **form: object
) -> Outcomes:
    collection = service.collection()
    if json:
        answer = service.http.post("/v1/imports", json={**json, "collection": collection})
    else:
        answer = service.http.post("/v1/imports", files={"file": file}, data={**form, "collection": collection})
    assert answer.status_code == 202, answer.text
    job = service.finished(answer.json()["job_id"])
    service.skipped = job["source"]["skipped"]
    found = {item["name"]: Outcome(REFUSED, item["error_code"], item["error"]) for item in service.failures(job["id"])}
    return _with_images(service, collection, found, lambda name: name)


def _with_images(service: Service, collection: str, found: Outcomes, named: Callable[[str], str]) -> Outcomes:
    taken = {named(image["name"]): image for image in service.images(collection)}
    return found | {name: Outcome(TAKEN, image=image) for name, image in taken.items() if name not in found}


def _refusal(answer: httpx.Response) -> Outcome:
    problem = answer.json()
    return Outcome(REFUSED, problem["code"], problem["detail"])


def _below(name: str) -> str:
    """Without the folder itself, which the command puts before the names of what lies in it."""
    return name.partition("/")[2]
