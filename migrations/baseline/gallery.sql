-- Collections, images, quotas, and blobs to be cleaned up.

CREATE EXTENSION IF NOT EXISTS vector;

-- A deleted collection keeps its row until the last of its images is gone. Its name is free again from the beginning.
CREATE TABLE collection (
    id          uuid PRIMARY KEY DEFAULT uuidv7(),
    name        text NOT NULL CHECK (name ~ '^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$'),
    created_at  timestamptz NOT NULL DEFAULT now(),
    deleted_at  timestamptz,
    max_images  bigint CHECK (max_images >= 0),
    max_bytes   bigint CHECK (max_bytes >= 0),
    used_images bigint NOT NULL DEFAULT 0,
    used_bytes  bigint NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX collection_by_name ON collection (name) WHERE deleted_at IS NULL;
CREATE INDEX collection_deleted ON collection (id) WHERE deleted_at IS NOT NULL;

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

-- What a collection uses is counted only while it has a quota. FOR KEY SHARE waits for a quota that is being set (and
-- that waits for us), so that every image is counted once: by who sets the quota, or here.
CREATE FUNCTION count_use() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    sign CONSTANT integer := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END;
BEGIN
    PERFORM FROM collection WHERE id IN (SELECT collection_id FROM changed) FOR KEY SHARE;
    UPDATE collection SET used_images = used_images + sign * images, used_bytes = used_bytes + sign * bytes
    FROM (SELECT collection_id, count(*) AS images, sum(size) AS bytes FROM changed GROUP BY collection_id) each
    WHERE id = each.collection_id AND (max_images IS NOT NULL OR max_bytes IS NOT NULL);
    RETURN NULL;
END $$;
CREATE TRIGGER count_added AFTER INSERT ON image REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION count_use();
CREATE TRIGGER count_removed AFTER DELETE ON image REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION count_use();

-- A row is made before bytes are written, and goes with the transaction that first references them. One that stays
-- tells of bytes that may be unreferenced: the sweep looks.
CREATE TABLE pending_blob_cleanup (
    id       uuid PRIMARY KEY DEFAULT uuidv7(),
    blob_key text NOT NULL,
    since    timestamptz NOT NULL DEFAULT now()
);
