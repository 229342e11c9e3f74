"""Events: what happens is written in its own transaction, published in one order, and delivered to webhooks.

Revision: 0017
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
oldest_code = "0005"

# `seq` is drawn when an event is written, `position` when it is published: sequences are drawn before commits, so that
# a reader of `seq` would pass over what commits late (docs/adr/0021). `collection` is a name, as keys have them.
TABLES = """
CREATE TABLE event (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    position   bigint UNIQUE,
    id         uuid NOT NULL DEFAULT uuidv7(),
    type       text NOT NULL,
    collection text,
    job_id     uuid,
    data       jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX event_unpublished ON event (seq) WHERE position IS NULL;

-- One row. published: the last position that was given; pruned: the last of those that were removed.
CREATE TABLE event_log (
    published bigint NOT NULL,
    pruned    bigint NOT NULL
);
INSERT INTO event_log VALUES (0, 0);

CREATE TABLE webhook (
    id              uuid PRIMARY KEY DEFAULT uuidv7(),
    url             text NOT NULL,
    secret          text NOT NULL,
    types           text[],  -- NULL: all
    collection      text,    -- NULL: all
    created_by      text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    disabled_at     timestamptz,
    disabled_reason text,
    failures        integer NOT NULL DEFAULT 0,  -- in a row
    failing_since   timestamptz,
    next_try        timestamptz NOT NULL DEFAULT now(),
    lease_owner     text,
    lease_until     timestamptz
);

CREATE TABLE webhook_delivery (
    id          uuid PRIMARY KEY DEFAULT uuidv7(),
    webhook_id  uuid NOT NULL REFERENCES webhook ON DELETE CASCADE,
    position    bigint NOT NULL REFERENCES event (position) ON DELETE CASCADE,
    state       text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts    integer NOT NULL DEFAULT 0,
    next_try    timestamptz NOT NULL DEFAULT now(),
    status      integer,  -- of the last answer
    error       text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    UNIQUE (webhook_id, position)
);
CREATE INDEX webhook_delivery_pending ON webhook_delivery (webhook_id, position) WHERE state = 'pending';
CREATE INDEX webhook_delivery_failed ON webhook_delivery (webhook_id, id) WHERE state = 'failed';
CREATE INDEX webhook_delivery_by_webhook ON webhook_delivery (webhook_id, id);
CREATE INDEX webhook_delivery_by_event ON webhook_delivery (position);
"""

# An upload's job is inserted before its only item, and looks finished until then: what was never queued is not told of.
JOBS = """
CREATE FUNCTION job_event(job job) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'job_id', job.id, 'job_type', job.type, 'status', job.status, 'counts', jsonb_build_object(
            'total', job.total, 'pending', job.pending, 'indexed', job.indexed, 'duplicate', job.duplicate,
            'failed', job.failed, 'cancelled', job.cancelled),
        'model_version', job.model_version_id, 'error', job.error, 'attempts', job.attempts)
$$;
REVOKE EXECUTE ON FUNCTION job_event FROM PUBLIC;

CREATE FUNCTION event_of_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO event (type, collection, job_id, data)
        SELECT 'job.queued', c.name, job.id, job_event(job)
        FROM after job LEFT JOIN collection c ON c.id = job.collection_id WHERE job.status = 'queued' ORDER BY job.id;
    ELSE
        INSERT INTO event (type, collection, job_id, data)
        SELECT change.type, c.name, job.id, job_event(job)
        FROM after job JOIN before was ON was.id = job.id
        CROSS JOIN LATERAL (
            SELECT 'job.' || CASE job.status WHEN 'succeeded' THEN 'finished' WHEN 'partial' THEN 'finished'
                                             ELSE job.status END AS type
            WHERE job.status <> was.status
            UNION ALL SELECT CASE WHEN job.paused THEN 'job.paused' ELSE 'job.resumed' END
            WHERE job.paused <> was.paused AND job.finished_at IS NULL AND NOT job.cancelling
        ) change
        LEFT JOIN collection c ON c.id = coalesce(job.collection_id, was.collection_id)
        WHERE job.status <> was.status OR job.paused <> was.paused ORDER BY job.id;
    END IF;
    IF FOUND THEN
        PERFORM pg_notify('umbel', 'events');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER event_inserted AFTER INSERT ON job
    REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION event_of_jobs();
CREATE TRIGGER event_updated AFTER UPDATE ON job
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION event_of_jobs();
"""

# One event for the images of a job that are stored together, in parts of AT_ONCE. Its name comes before those of the
# other triggers on job_item, so a job ends after its images.
AT_ONCE = 200
ITEMS = f"""
CREATE FUNCTION event_of_items() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (type, collection, job_id, data)
    SELECT 'image.' || state, collection, job_id, CASE state
        WHEN 'indexed' THEN jsonb_build_object('job_id', job_id, 'image_ids', jsonb_agg(image_id ORDER BY id))
        ELSE jsonb_build_object('job_id', job_id, 'failures', jsonb_agg(jsonb_build_object(
            'image_id', image_id, 'name', name, 'code', error_code, 'error', error_detail) ORDER BY id)) END
    FROM (
        SELECT item.*, c.name AS collection,
               (row_number() OVER (PARTITION BY item.job_id, item.state ORDER BY item.id) - 1) / {AT_ONCE} AS part
        FROM {{ended}} JOIN job ON job.id = item.job_id LEFT JOIN collection c ON c.id = job.collection_id
    ) item GROUP BY job_id, state, collection, part ORDER BY job_id, part;
    IF FOUND THEN
        PERFORM pg_notify('umbel', 'events');
    END IF;
    RETURN NULL;
END $$;
"""
TAKEN_IN = "queue IN ('single', 'bulk', 'fetch')"
INSERTED_ITEMS = f"(SELECT * FROM after WHERE state = 'failed' AND {TAKEN_IN}) item"
UPDATED_ITEMS = f"""(
    SELECT now.* FROM after now JOIN before was ON was.id = now.id
    WHERE now.state IN ('indexed', 'failed') AND was.state <> now.state AND now.{TAKEN_IN}
) item"""
ON_ITEMS = """
CREATE TRIGGER event_inserted AFTER INSERT ON job_item
    REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION event_of_new_items();
CREATE TRIGGER event_updated AFTER UPDATE ON job_item
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION event_of_items();
"""

IMAGES = f"""
CREATE FUNCTION event_of_images() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO event (type, collection, data)
        SELECT 'image.deleted', name, jsonb_build_object('image_ids', jsonb_agg(id ORDER BY id))
        FROM (
            SELECT image.id, c.name, (row_number() OVER (PARTITION BY c.id ORDER BY image.id) - 1) / {AT_ONCE} AS part
            FROM before image JOIN collection c ON c.id = image.collection_id
        ) image GROUP BY name, part ORDER BY name, part;
    ELSE
        INSERT INTO event (type, collection, data)
        SELECT 'image.changed', name,
               jsonb_build_object('image_ids', jsonb_agg(id ORDER BY id), 'changed', changed)
        FROM (
            SELECT now.id, c.name, changed.changed,
                   (row_number() OVER (PARTITION BY c.id, changed.changed ORDER BY now.id) - 1) / {AT_ONCE} AS part
            FROM after now JOIN before was ON was.id = now.id JOIN collection c ON c.id = now.collection_id
            CROSS JOIN LATERAL (SELECT array_remove(ARRAY[
                CASE WHEN now.label IS DISTINCT FROM was.label THEN 'label' END,
                CASE WHEN now.metadata <> was.metadata THEN 'metadata' END,
                CASE WHEN now.external_id IS DISTINCT FROM was.external_id THEN 'external_id' END,
                CASE WHEN now.sha256 <> was.sha256 THEN 'picture' END], NULL) AS changed) changed
            WHERE cardinality(changed.changed) > 0
        ) image GROUP BY name, changed, part ORDER BY name, part;
    END IF;
    IF FOUND THEN
        PERFORM pg_notify('umbel', 'events');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER event_deleted AFTER DELETE ON image
    REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION event_of_images();
CREATE TRIGGER event_updated AFTER UPDATE ON image
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION event_of_images();
"""


def upgrade() -> None:
    op.execute(TABLES + JOBS + IMAGES)
    op.execute(ITEMS.format(ended=UPDATED_ITEMS))
    op.execute(ITEMS.replace("event_of_items", "event_of_new_items").format(ended=INSERTED_ITEMS) + ON_ITEMS)


def downgrade() -> None:
    for table, events in {"job": "iu", "job_item": "iu", "image": "du"}.items():
        for letter, trigger in (("i", "event_inserted"), ("u", "event_updated"), ("d", "event_deleted")):
            if letter in events:
                op.execute(f"DROP TRIGGER {trigger} ON {table}")
    for function in ("event_of_jobs()", "event_of_items()", "event_of_new_items()", "event_of_images()"):
        op.execute(f"DROP FUNCTION {function}")
    op.execute("DROP FUNCTION job_event(job)")
    op.execute("DROP TABLE webhook_delivery, webhook, event_log, event")
