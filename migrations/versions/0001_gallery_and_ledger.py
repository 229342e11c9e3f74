"""Collections, images, model versions, embeddings, and the ledger of jobs.

Revision: 0001
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

GALLERY = """
CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE collection (
    id          uuid PRIMARY KEY DEFAULT uuidv7(),
    name        text NOT NULL UNIQUE CHECK (name ~ '^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$'),
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE image (
    id             uuid PRIMARY KEY DEFAULT uuidv7(),
    collection_id  uuid NOT NULL REFERENCES collection,
    sha256         bytea NOT NULL CHECK (length(sha256) = 32),
    blob_key       text NOT NULL,
    media_type     text NOT NULL,
    size           bigint NOT NULL CHECK (size > 0),
    width          integer NOT NULL CHECK (width > 0),
    height         integer NOT NULL CHECK (height > 0),
    name           text,
    label          text,
    metadata       jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    created_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (collection_id, sha256)
);
CREATE INDEX image_by_blob ON image (blob_key);
CREATE INDEX image_by_label ON image (label, collection_id) WHERE label IS NOT NULL;
CREATE INDEX image_by_metadata ON image USING gin (metadata jsonb_path_ops);

CREATE TABLE model_version (
    id                  uuid PRIMARY KEY DEFAULT uuidv7(),
    name                text NOT NULL,
    architecture        text NOT NULL,
    dim                 integer NOT NULL CHECK (dim BETWEEN 1 AND 4000),  -- what HNSW takes as halfvec
    weights_sha256      text NOT NULL UNIQUE,
    preprocessing_hash  text NOT NULL,
    card                jsonb NOT NULL,
    state               text NOT NULL CHECK (state IN ('registered', 'backfilling', 'ready', 'active', 'retired')),
    created_at          timestamptz NOT NULL DEFAULT now(),
    activated_at        timestamptz
);
CREATE UNIQUE INDEX one_active_model_version ON model_version ((true)) WHERE state = 'active';

-- One partition a model version (umbel/models/partitions.py), each with an HNSW index of its own width.
CREATE TABLE embedding (
    model_version_id  uuid NOT NULL REFERENCES model_version,
    image_id          uuid NOT NULL REFERENCES image ON DELETE CASCADE,
    collection_id     uuid NOT NULL REFERENCES collection,
    vector            halfvec NOT NULL,
    -- The image first: a B-tree that began with the version would tempt the planner away from HNSW.
    PRIMARY KEY (image_id, model_version_id)
) PARTITION BY LIST (model_version_id);
CREATE INDEX embedding_by_collection ON embedding (collection_id);
"""

# `status` is a function of the counts and `total` is checked against them, so neither can say what is not so.
LEDGER = """
CREATE TABLE job (
    id               uuid PRIMARY KEY DEFAULT uuidv7(),
    type             text NOT NULL CHECK (type IN ('upload', 'import')),
    collection_id    uuid REFERENCES collection,
    model_version_id uuid REFERENCES model_version,
    idempotency_key  text UNIQUE,
    closed           boolean NOT NULL,
    total            integer NOT NULL DEFAULT 0,
    pending          integer NOT NULL DEFAULT 0 CHECK (pending >= 0),
    indexed          integer NOT NULL DEFAULT 0 CHECK (indexed >= 0),
    duplicate        integer NOT NULL DEFAULT 0 CHECK (duplicate >= 0),
    failed           integer NOT NULL DEFAULT 0 CHECK (failed >= 0),
    cancelled        integer NOT NULL DEFAULT 0 CHECK (cancelled >= 0),
    attempts         integer NOT NULL DEFAULT 1,
    error            text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    finished_at      timestamptz,
    changed_at       timestamptz NOT NULL DEFAULT now(),
    status           text NOT NULL GENERATED ALWAYS AS (
        CASE WHEN pending > 0 OR NOT closed THEN CASE WHEN started_at IS NULL THEN 'queued' ELSE 'running' END
             WHEN cancelled > 0 THEN 'cancelled'
             WHEN failed > 0 AND failed = total THEN 'failed'
             WHEN failed > 0 THEN 'partial'
             ELSE 'succeeded' END) STORED,
    CONSTRAINT counts_add_up CHECK (total = pending + indexed + duplicate + failed + cancelled)
);
CREATE INDEX job_by_status ON job (status, id);
CREATE INDEX job_open ON job (changed_at) WHERE NOT closed;

CREATE TABLE job_item (
    id            uuid PRIMARY KEY DEFAULT uuidv7(),
    job_id        uuid NOT NULL REFERENCES job ON DELETE CASCADE,
    image_id      uuid REFERENCES image ON DELETE SET NULL,
    queue          text NOT NULL CHECK (queue IN ('single', 'bulk')),
    state         text NOT NULL CHECK (state IN ('pending', 'indexed', 'duplicate', 'failed', 'cancelled')),
    name          text,
    attempts      integer NOT NULL DEFAULT 0,
    lease_owner   text,
    lease_until   timestamptz,
    error_code    text,
    error_detail  text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    finished_at   timestamptz,
    CHECK ((state = 'failed') = (error_code IS NOT NULL))
);
CREATE INDEX job_item_by_job ON job_item (job_id, state, id);
CREATE INDEX job_item_by_image ON job_item (image_id);
CREATE INDEX job_item_pending ON job_item (queue, attempts, id) WHERE state = 'pending';
CREATE INDEX job_item_by_owner ON job_item (lease_owner) WHERE state = 'pending' AND lease_owner IS NOT NULL;
"""

# The counts follow the items inside the same transaction, whoever changes them and how.
COUNTS = """
CREATE FUNCTION job_count(jobs uuid[], states text[], changes integer[], starts boolean[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    -- Locked in one order, so that two workers finishing items of the same jobs cannot deadlock.
    PERFORM 1 FROM job WHERE id = ANY (jobs) ORDER BY id FOR NO KEY UPDATE;
    UPDATE job SET
        total = job.total + d.total, pending = job.pending + d.pending, indexed = job.indexed + d.indexed,
        duplicate = job.duplicate + d.duplicate, failed = job.failed + d.failed,
        cancelled = job.cancelled + d.cancelled,
        started_at = CASE WHEN d.started THEN coalesce(job.started_at, now()) ELSE job.started_at END
    FROM (
        SELECT r.job_id, sum(r.change) AS total, bool_or(r.started) AS started,
               coalesce(sum(r.change) FILTER (WHERE r.state = 'pending'), 0) AS pending,
               coalesce(sum(r.change) FILTER (WHERE r.state = 'indexed'), 0) AS indexed,
               coalesce(sum(r.change) FILTER (WHERE r.state = 'duplicate'), 0) AS duplicate,
               coalesce(sum(r.change) FILTER (WHERE r.state = 'failed'), 0) AS failed,
               coalesce(sum(r.change) FILTER (WHERE r.state = 'cancelled'), 0) AS cancelled
        FROM unnest(jobs, states, changes, starts) AS r(job_id, state, change, started)
        GROUP BY r.job_id
    ) d
    WHERE job.id = d.job_id
      AND (d.total <> 0 OR d.pending <> 0 OR d.indexed <> 0 OR d.duplicate <> 0 OR d.failed <> 0 OR d.cancelled <> 0
           OR (d.started AND job.started_at IS NULL));
END $$;

CREATE FUNCTION job_item_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM job_count(array_agg(job_id), array_agg(state), array_agg(1), array_agg(state <> 'pending'))
    FROM inserted HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE FUNCTION job_item_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM job_count(array_agg(job_id), array_agg(state), array_agg(change), array_agg(started))
    FROM (SELECT job_id, state, -1 AS change, false AS started FROM before
          UNION ALL SELECT job_id, state, 1, attempts > 0 OR state <> 'pending' FROM after) rows
    HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE FUNCTION job_item_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM job_count(array_agg(job_id), array_agg(state), array_agg(-1), array_agg(false))
    FROM deleted HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE TRIGGER job_item_inserted AFTER INSERT ON job_item
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION job_item_inserted();
CREATE TRIGGER job_item_updated AFTER UPDATE ON job_item
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION job_item_updated();
CREATE TRIGGER job_item_deleted AFTER DELETE ON job_item
    REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION job_item_deleted();

CREATE FUNCTION job_times() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed_at := now();
    NEW.finished_at := CASE WHEN NEW.closed AND NEW.pending = 0 THEN coalesce(NEW.finished_at, now()) END;
    RETURN NEW;
END $$;
CREATE TRIGGER job_times BEFORE INSERT OR UPDATE ON job FOR EACH ROW EXECUTE FUNCTION job_times();

-- Whoever waits for a job (GET /v1/jobs/{id}?wait=) listens here instead of asking again and again.
CREATE FUNCTION job_announced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('umbel', 'job ' || NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER job_announced AFTER UPDATE ON job FOR EACH ROW
    WHEN (OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL) EXECUTE FUNCTION job_announced();
"""

PROCESSES = """
-- Pictures to search by. Unlogged: after a crash their askers are gone too. JPEG does not compress: do not try.
CREATE UNLOGGED TABLE query_image (
    id                uuid PRIMARY KEY DEFAULT uuidv7(),
    image             bytea NOT NULL,
    model_version_id  uuid,
    vector            bytea,  -- float32, little-endian: read by one process and forgotten, never compared in SQL
    error_code        text,
    error_detail      text,
    claimed_at        timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE query_image ALTER image SET STORAGE EXTERNAL;

CREATE FUNCTION query_answered() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('umbel', 'query ' || NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER query_answered AFTER UPDATE OF vector, error_code ON query_image FOR EACH ROW
    WHEN (NEW.vector IS NOT NULL OR NEW.error_code IS NOT NULL) EXECUTE FUNCTION query_answered();

CREATE TABLE worker (
    name        text PRIMARY KEY,
    queues       text NOT NULL,
    device      text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    seen_at     timestamptz NOT NULL DEFAULT now()
);
"""


def upgrade() -> None:
    for part in (GALLERY, LEDGER, COUNTS, PROCESSES):
        op.execute(part)


def downgrade() -> None:
    op.execute("DROP TABLE worker, query_image, job_item, job, embedding, model_version, image, collection")
    for function in ("job_count", "job_item_inserted", "job_item_updated", "job_item_deleted"):
        op.execute(f"DROP FUNCTION {function}")
    for function in ("job_times", "job_announced", "query_answered"):
        op.execute(f"DROP FUNCTION {function}")
