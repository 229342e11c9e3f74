-- The ledger: jobs, their items, and the workers that claim them.

-- `status` is a function of the counts and `total` is checked against them, so neither can say what is not so.
CREATE TABLE job (
    id               uuid PRIMARY KEY DEFAULT uuidv7(),
    type             text NOT NULL CHECK (type IN ('upload', 'import', 'repair', 'comparison', 'deletion', 'reindex', 'map')),
    collection_id    uuid REFERENCES collection,
    model_version_id uuid REFERENCES model_version,
    closed           boolean NOT NULL,
    total            integer NOT NULL DEFAULT 0,
    pending          integer NOT NULL DEFAULT 0 CHECK (pending >= 0),
    indexed          integer NOT NULL DEFAULT 0 CHECK (indexed >= 0),
    duplicate        integer NOT NULL DEFAULT 0 CHECK (duplicate >= 0),
    failed           integer NOT NULL DEFAULT 0 CHECK (failed >= 0),
    cancelled        integer NOT NULL DEFAULT 0 CHECK (cancelled >= 0),
    attempts         integer NOT NULL DEFAULT 1,
    paused           boolean NOT NULL DEFAULT false,
    cancelling       boolean NOT NULL DEFAULT false,  -- asked for; the sweep finishes what was interrupted
    indexing         boolean NOT NULL DEFAULT false,  -- it waits for an HNSW index that is built after the load
    request_id       text,  -- of the request that asked for it; its log lines carry the same
    traceparent      text,  -- W3C Trace Context of that request, if it was traced
    error            text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    finished_at      timestamptz,
    changed_at       timestamptz NOT NULL DEFAULT now(),
    status           text NOT NULL GENERATED ALWAYS AS (
        CASE WHEN pending > 0 OR NOT closed OR indexing THEN CASE WHEN started_at IS NULL THEN 'queued' ELSE 'running' END
             WHEN cancelled > 0 OR cancelling THEN 'cancelled'
             WHEN failed = total AND (failed > 0 OR error IS NOT NULL) THEN 'failed'
             WHEN failed > 0 OR error IS NOT NULL THEN 'partial'
             ELSE 'succeeded' END) STORED,
    CONSTRAINT counts_add_up CHECK (total = pending + indexed + duplicate + failed + cancelled)
);
CREATE INDEX job_by_status ON job (status, id);
CREATE INDEX job_open ON job (changed_at) WHERE NOT closed;
CREATE INDEX job_at_work ON job (id) WHERE indexing OR cancelling OR paused;
CREATE INDEX job_by_collection ON job (collection_id);

-- An item may be there before its image is: listed from a source, `locator` says where to read it. It moves from the
-- queue `fetch` to the queue `bulk` when its bytes are stored.
CREATE TABLE job_item (
    id            uuid PRIMARY KEY DEFAULT uuidv7(),
    job_id        uuid NOT NULL REFERENCES job ON DELETE CASCADE,
    image_id      uuid REFERENCES image ON DELETE SET NULL,
    queue         text NOT NULL CHECK (queue IN ('single', 'bulk', 'fetch', 'compare', 'delete', 'reindex')),
    state         text NOT NULL CHECK (state IN ('pending', 'indexed', 'duplicate', 'failed', 'cancelled')),
    name          text,
    locator       text,
    label         text,
    metadata      jsonb,
    paused          boolean NOT NULL DEFAULT false,  -- it belongs to a paused job
    attempts      integer NOT NULL DEFAULT 0,  -- claims that may have been the item's fault; at the last it fails
    retries       integer NOT NULL DEFAULT 0,  -- tries that others failed, such as an unreachable source: they space out
    lease_owner   text,
    lease_until   timestamptz,
    error_code    text,
    error_detail  text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    finished_at   timestamptz,
    CHECK ((state = 'failed') = (error_code IS NOT NULL)),
    -- What waits for a worker can be claimed: it has what the claims of its queue join. A deletion outlives its image.
    CONSTRAINT claimable CHECK (state <> 'pending' OR queue = 'delete' OR image_id IS NOT NULL
                                OR queue = 'fetch' AND locator IS NOT NULL)
);
CREATE INDEX job_item_by_job ON job_item (job_id, state, id);
CREATE INDEX job_item_by_image ON job_item (image_id, id);  -- with the id: the newest is found whatever the statistics say
CREATE INDEX job_item_pending ON job_item (queue, attempts, retries, id) WHERE state = 'pending' AND NOT paused;
CREATE INDEX job_item_by_owner ON job_item (lease_owner) WHERE state = 'pending' AND lease_owner IS NOT NULL;

-- A request that is repeated under its key is answered as the first one was. `image_id` refers to no row: the answer
-- stays what it was when the image is removed.
CREATE TABLE idempotency_key (
    key            text PRIMARY KEY,
    request_sha256 bytea NOT NULL,
    job_id         uuid NOT NULL REFERENCES job ON DELETE CASCADE,
    image_id       uuid,
    duplicate      boolean NOT NULL
);
CREATE INDEX idempotency_key_by_job ON idempotency_key (job_id);

-- An image that is deleted takes its pending items with it, those too that were added while the deletion waited.
CREATE FUNCTION job_item_cancelled() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.state := 'cancelled';
    NEW.finished_at := now();
    NEW.lease_owner := NULL;
    NEW.lease_until := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER job_item_cancelled BEFORE UPDATE OF image_id ON job_item FOR EACH ROW
    WHEN (OLD.image_id IS NOT NULL AND NEW.image_id IS NULL AND NEW.state = 'pending' AND NEW.queue <> 'delete')
    EXECUTE FUNCTION job_item_cancelled();

-- The counts follow the items inside the same transaction, whichever statement changes them.
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
    NEW.finished_at := CASE WHEN NEW.closed AND NEW.pending = 0 AND NOT NEW.indexing THEN coalesce(NEW.finished_at, now()) END;
    RETURN NEW;
END $$;
CREATE TRIGGER job_times BEFORE INSERT OR UPDATE ON job FOR EACH ROW EXECUTE FUNCTION job_times();

-- A request that waits for a job (GET /v1/jobs/{id}?wait=) listens here instead of polling.
CREATE FUNCTION job_announced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('umbel', 'job ' || NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER job_announced AFTER UPDATE ON job FOR EACH ROW
    WHEN (OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL) EXECUTE FUNCTION job_announced();

CREATE TABLE worker (
    name        text PRIMARY KEY,
    queues      text NOT NULL,
    device      text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    seen_at     timestamptz NOT NULL DEFAULT now(),
    progress_at timestamptz NOT NULL DEFAULT now(),  -- something was finished, or nothing was left to do
    broker_connected boolean NOT NULL DEFAULT true
);
