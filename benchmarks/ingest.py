"""How close does the worker's pipeline come to the raw forward of the same model?

Ours: claim, read, decode, forward, store and finish, from queued items to committed vectors, Postgres with fsync on the
same cores. Raw: the forward alone, on pictures that are decoded already, in the same batches.
"""

from benchmarks.common import interleaved, own_home, spread, write

PICTURES = 256


def main() -> None:
    with own_home() as home:
        from sqlalchemy import text  # noqa: PLC0415 - settings are read at the first use, so the home comes first

        from core.blobs import blobs  # noqa: PLC0415
        from core.settings import settings  # noqa: PLC0415
        from core.types import Lane, LoadedModel  # noqa: PLC0415
        from db import schema  # noqa: PLC0415
        from db.session import engine, transaction  # noqa: PLC0415
        from ml.garden import draw_garden  # noqa: PLC0415
        from services.embedding import EmbeddingLine  # noqa: PLC0415
        from services.ingest import Upload, add_image  # noqa: PLC0415
        from stack.postgres import Postgres  # noqa: PLC0415
        from worker.decoders import DecoderPool  # noqa: PLC0415
        from worker.models import OneModel, load_active_model  # noqa: PLC0415

        server = Postgres(home, settings().socket_dir)
        server.start()
        try:
            schema.upgrade(settings().database)
            embedder, version_id = load_active_model(settings())
            files = [path.read_bytes() for path in draw_garden(home / "garden", species=16, per_species=PICTURES // 16)]
            for data in files:
                add_image(transaction, blobs(), settings(), Upload(data))
            pixels = [embedder.decode(data) for data in files]
            with DecoderPool(embedder.card.preprocessing, settings()) as decoder:
                models = OneModel(LoadedModel(version_id, embedder, decoder))
                line = EmbeddingLine(transaction, models, "bench", settings())

                def ours() -> None:
                    with engine().begin() as connection:
                        connection.execute(text("DELETE FROM embedding"))
                        connection.execute(text("UPDATE job_item SET state = 'pending', attempts = 0"))
                    assert line.embed_items([Lane.SINGLE]) == PICTURES

                taken = interleaved(raw=lambda: embedder.embed(pixels), ours=ours)
        finally:
            engine().dispose()
            server.stop()
    ratios = [raw / mine for raw, mine in zip(taken["raw"], taken["ours"], strict=True)]
    write(
        "ingest",
        {
            "pictures": PICTURES,
            "batch": embedder.batch_size,
            "model": embedder.card.name,
            "precision": embedder.precision,
            "raw_per_second": spread([PICTURES / each for each in taken["raw"]]),
            "ours_per_second": spread([PICTURES / each for each in taken["ours"]]),
            "ours_of_raw": spread(ratios),
        },
    )


if __name__ == "__main__":
    main()
