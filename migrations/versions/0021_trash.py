"""The trash, and jobs that change, remove or restore many images.

Revision: 0021
"""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

TABLES = """
-- Images that were removed and can be restored: their rows as they were. Nothing that looks for images looks here.
CREATE TABLE trashed_image (
    id            uuid PRIMARY KEY,
    collection_id uuid NOT NULL REFERENCES collection,
    sha256        bytea NOT NULL,
    blob_key      text NOT NULL,
    media_type    text NOT NULL,
    size          bigint NOT NULL,
    width         integer NOT NULL,
    height        integer NOT NULL,
    name          text,
    external_id   text,
    label         text,
    metadata      jsonb NOT NULL,
    note          text,
    created_at    timestamptz NOT NULL,
    replaced_at   timestamptz,
    trashed_at    timestamptz NOT NULL DEFAULT now(),
    job_id        uuid  -- that removed it; without a reference: old jobs go before
);
CREATE INDEX trashed_image_in_collection ON trashed_image (collection_id, id);
CREATE INDEX trashed_image_by_blob ON trashed_image (blob_key);
CREATE INDEX trashed_image_by_time ON trashed_image (trashed_at);
CREATE INDEX trashed_image_by_job ON trashed_image (job_id) WHERE job_id IS NOT NULL;
-- Their vectors, in no index. A restored image needs no worker to be found again.
CREATE TABLE trashed_embedding (
    image_id         uuid NOT NULL REFERENCES trashed_image ON DELETE CASCADE,
    model_version_id uuid NOT NULL REFERENCES model_version,
    vector           halfvec NOT NULL,
    PRIMARY KEY (image_id, model_version_id)
);
CREATE INDEX trashed_embedding_by_version ON trashed_embedding (model_version_id);

-- What a job does to many images, and how far they are listed. position: the last image that was.
CREATE TABLE bulk_change (
    job_id   uuid PRIMARY KEY REFERENCES job ON DELETE CASCADE,
    chosen   jsonb NOT NULL,
    changes  jsonb NOT NULL DEFAULT '{}',
    position uuid,
    listed   boolean NOT NULL DEFAULT false
);
CREATE INDEX bulk_change_unlisted ON bulk_change (job_id) WHERE NOT listed;
"""
TYPES = "'upload', 'import', 'repair', 'comparison', 'deletion', 'reindex', 'map'"
QUEUES = "'single', 'bulk', 'fetch', 'compare', 'delete', 'reindex'"
CLAIMABLE = "state <> 'pending' OR queue = 'delete' OR image_id IS NOT NULL OR queue = 'fetch' AND locator IS NOT NULL"


def upgrade() -> None:
    op.execute(TABLES)
    _constrain(
        types=f"{TYPES}, 'change', 'removal', 'restoration', 'purge'",
        queues=f"{QUEUES}, 'change'",
        claimable=f"{CLAIMABLE} OR queue = 'change' AND locator IS NOT NULL",
    )


def downgrade() -> None:
    """What is in the trash goes; `umbel reconcile --repair` removes its bytes."""
    op.execute("""
        DELETE FROM job WHERE type IN ('change', 'removal', 'restoration', 'purge');
        DROP TABLE bulk_change; DROP TABLE trashed_embedding; DROP TABLE trashed_image;
    """)
    _constrain(types=TYPES, queues=QUEUES, claimable=CLAIMABLE)


def _constrain(*, types: str, queues: str, claimable: str) -> None:
    """NOT VALID: all rows meet these checks already, and to go through them would hold up writers."""
    checks = {
        "job_type_check": ("job", f"type IN ({types})"),
        "job_item_queue_check": ("job_item", f"queue IN ({queues})"),
        "claimable": ("job_item", claimable),
    }
    for name, (table, check) in checks.items():
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} CHECK ({check}) NOT VALID")
