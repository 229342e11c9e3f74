"""How fast are pictures read into the ledger, beside reading, hashing and writing the same files and nothing else?

Run `python -m benchmarks.fetching [--pictures 2000]`: the line that workers run lists a folder, reads, checks and
hashes its pictures, stores their bytes and gives their items images, on a real Postgres; no model runs. By turns with
it, the least that any import does: as many threads read the files, hash them, write them and wait for the disk.
cpu_ms_a_image: of this process, which stands for a worker's, of its decoders, and of Postgres.
"""

import argparse
import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from benchmarks.common import cpu_seconds, interleaved, own_home, spent_by, spread, write
from benchmarks.database import own_server
from benchmarks.images import draw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    images = int(parser.parse_args().images)
    with own_home() as home:
        os.environ["UMBEL_IMPORT_ROOTS"] = str(home / "pictures")
        from umbel.base import schema  # noqa: PLC0415
        from umbel.base.settings import settings  # noqa: PLC0415 - settings are read at the first use, so the home comes first

        draw(home / "pictures", images)
        with own_server(home) as server:
            schema.upgrade(settings().database)
            _measure(home, _postmaster(server.data))


def _measure(home: Path, server: psutil.Process) -> None:
    from ml.preprocess import Preprocessing  # noqa: PLC0415
    from ml.threads import decoding_processes  # noqa: PLC0415
    from umbel.base.blobs import blobs  # noqa: PLC0415 - as above
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.base.settings import settings  # noqa: PLC0415
    from umbel.imports.fetching import READERS, FetchingHandler  # noqa: PLC0415
    from umbel.imports.imports import import_source  # noqa: PLC0415
    from umbel.imports.sources.source import FolderSource  # noqa: PLC0415
    from umbel.imports.turns import Turns  # noqa: PLC0415
    from umbel.jobs.leases import Leases  # noqa: PLC0415
    from worker.decoders import WorkerDecoders  # noqa: PLC0415

    files = sorted((home / "pictures").rglob("*.jpg"))
    numbers = count()
    spent = {"worker": 0.0, "decoders": 0.0, "postgres": 0.0}
    with WorkerDecoders(Preprocessing(), settings()) as decoder, ThreadPoolExecutor(READERS) as readers:
        leases = Leases(transaction, "bench", 60)
        line = FetchingHandler(
            transaction=transaction,
            settings=settings(),
            leases=leases,
            blobs=blobs(),
            decoder=decoder,
            readers=readers,
            writers=readers,
            turns=Turns(transaction),
            wake=lambda _: None,
        )

        def queue(name: str) -> None:
            if name == "ours":
                import_source(
                    transaction,
                    blobs(),
                    settings(),
                    FolderSource(path=str(home / "pictures")),
                    collection=f"c{next(numbers)}",
                    label_from_folder=False,
                    dry_run=False,
                )

        def cpu() -> dict[str, float]:
            decoders = sum(spent_by(psutil.Process(pid)) for pid in decoder.pids())
            return {"worker": time.process_time(), "decoders": decoders, **cpu_seconds({"postgres": server})}

        def ours() -> None:
            before = cpu()
            line.run()
            for name, after in cpu().items():
                spent[name] += after - before[name]

        def bare() -> None:
            folder = home / "bare" / str(next(numbers))
            folder.mkdir(parents=True)
            list(readers.map(lambda path: _copy(path, folder), files))

        taken = interleaved(queue, ours=ours, bare=bare)
        blocks = len(taken["ours"]) + 1
    write(
        "fetching",
        {
            "pictures": len(files),
            "decoders": decoding_processes(settings()),
            "per_second": {name: spread([len(files) / each for each in times]) for name, times in taken.items()},
            "of_bare": spread([a / b for a, b in zip(taken["bare"], taken["ours"], strict=True)]),
            "cpu_ms_a_image": {name: round(1000 * each / len(files) / blocks, 3) for name, each in spent.items()},
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
