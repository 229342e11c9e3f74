"""How fast are pictures imported beside reading, hashing and writing the same files, and what does an import cost?

Run `python -m benchmarks.fetching [--images 2000] [--folder PATH]`: the line that workers run lists a folder, reads,
checks, decodes and stores its pictures and their vectors, on a real Postgres; a stub stands for the model, so what is
left is what a worker does beside the forward. Once the pixels are handed to the model as they are read, once the same
without copying the pictures, once each picture goes through the queue and is decoded from its blob. By turns with
them, the least that any import does: as many threads read the files, hash them, write them and wait for the disk.
cpu_ms_a_image: of this process, which stands for a worker's, of its decoders, and of Postgres.
"""

import argparse
import hashlib
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from benchmarks.common import cpu_seconds, interleaved, own_home, spent_by, spread, write
from benchmarks.database import own_server
from benchmarks.images import draw
from benchmarks.timeline import Stub


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="photographs to take the pictures from; drawn ones without it")
    given = parser.parse_args()
    with own_home() as home:
        pictures = home / "pictures"
        os.environ["UMBEL_IMPORT_ROOTS"] = str(pictures)
        from umbel.base import schema  # noqa: PLC0415
        from umbel.base.settings import settings  # noqa: PLC0415 - settings are read at the first use, so the home comes first

        if given.folder:
            pictures.mkdir()
            for path in sorted(given.folder.rglob("*.jpg"))[: given.images]:
                shutil.copy(path, pictures / f"{path.parent.name}-{path.name}")
        else:
            draw(pictures, given.images)
        with own_server(home) as server:
            schema.upgrade(settings().database)
            _measure(home, _postmaster(server.data))


def _measure(home: Path, server: psutil.Process) -> None:
    from ml.preprocess import Preprocessing  # noqa: PLC0415
    from ml.threads import decoding_processes  # noqa: PLC0415
    from umbel.base.blobs import blobs  # noqa: PLC0415 - as above
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.base.settings import settings  # noqa: PLC0415
    from umbel.base.types import LoadedModel, Queue  # noqa: PLC0415
    from umbel.embedding.embedding import EmbeddingHandler  # noqa: PLC0415
    from umbel.embedding.handoff import Handoff  # noqa: PLC0415
    from umbel.imports.fetching import FetchingHandler  # noqa: PLC0415
    from umbel.imports.imports import import_source  # noqa: PLC0415
    from umbel.imports.reading import READERS  # noqa: PLC0415
    from umbel.imports.sources.source import FolderSource  # noqa: PLC0415
    from umbel.imports.turns import Turns  # noqa: PLC0415
    from umbel.jobs.leases import Leases  # noqa: PLC0415
    from umbel.models import partitions  # noqa: PLC0415
    from worker.decoders import WorkerDecoders  # noqa: PLC0415
    from worker.models import OneModel, ensure_active_version  # noqa: PLC0415

    files = sorted((home / "pictures").rglob("*.jpg"))
    numbers = count()
    spent = {
        name: dict.fromkeys(("worker", "decoders", "postgres"), 0.0) for name in ("handed_over", "in_place", "queued")
    }
    version = ensure_active_version(settings())
    with transaction() as session:
        partitions.drop_index(session, version.id)  # as an import does that brings more than the gallery has
    with (
        WorkerDecoders(Preprocessing(), settings()) as decoder,
        ThreadPoolExecutor(READERS) as readers,
        ThreadPoolExecutor(READERS) as writers,
        ThreadPoolExecutor(1) as model,
    ):
        embedding_leases, leases = (Leases(transaction, "bench", 60) for _ in range(2))
        handoff = Handoff(embedding_leases, lambda: model.submit(embedding.run, [Queue.BULK]), decoder)
        models = OneModel(LoadedModel(version.id, Stub(version.dim), decoder))  # type: ignore[arg-type]
        embedding = EmbeddingHandler(
            transaction=transaction, settings=settings(), leases=embedding_leases, models=models, handoff=handoff
        )

        def queue(name: str) -> None:
            if name in spent:
                import_source(
                    transaction,
                    blobs(),
                    settings(),
                    FolderSource(path=str(home / "pictures"), in_place=name == "in_place"),
                    collection=f"c{next(numbers)}",
                    label_from_folder=False,
                    dry_run=False,
                )

        def cpu() -> dict[str, float]:
            decoders = sum(spent_by(psutil.Process(pid)) for pid in decoder.pids())
            return {"worker": time.process_time(), "decoders": decoders, **cpu_seconds({"postgres": server})}

        def imported(name: str, handoff: Handoff | None) -> None:
            before = cpu()
            FetchingHandler(
                transaction=transaction,
                settings=settings(),
                leases=leases,
                blobs=blobs(),
                decoder=decoder,
                readers=readers,
                writers=writers,
                turns=Turns(transaction),
                wake=lambda queue: model.submit(embedding.run, [Queue.BULK]) if queue == Queue.BULK else None,
                handoff=handoff,
            ).run()
            model.submit(embedding.run, [Queue.BULK]).result()
            for part, after in cpu().items():
                spent[name][part] += after - before[part]

        def bare() -> None:
            folder = home / "bare" / str(next(numbers))
            folder.mkdir(parents=True)
            list(readers.map(lambda path: _copy(path, folder), files))

        taken = interleaved(
            queue,
            handed_over=lambda: imported("handed_over", handoff),
            in_place=lambda: imported("in_place", handoff),
            queued=lambda: imported("queued", None),
            bare=bare,
        )
        blocks = len(taken["bare"]) + 1
    write(
        "fetching",
        {
            "pictures": len(files),
            "decoders": decoding_processes(settings()),
            "per_second": {name: spread([len(files) / each for each in times]) for name, times in taken.items()},
            "of_bare": spread([a / b for a, b in zip(taken["bare"], taken["handed_over"], strict=True)]),
            "in_place_of_handed_over": spread(
                [a / b for a, b in zip(taken["handed_over"], taken["in_place"], strict=True)]
            ),
            "of_queued": spread([a / b for a, b in zip(taken["queued"], taken["handed_over"], strict=True)]),
            "cpu_ms_a_image": {
                name: {part: round(1000 * each / len(files) / blocks, 3) for part, each in parts.items()}
                for name, parts in spent.items()
            },
        },
    )


def _postmaster(data: Path) -> psutil.Process:
    return psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))


def _copy(path: Path, folder: Path) -> None:
    data = path.read_bytes()
    with (folder / hashlib.sha256(data).hexdigest()).open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    main()
