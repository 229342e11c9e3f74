-- Images to search by, on their way to a vector.

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

-- Inserting an image to search by notifies the workers that listen.
CREATE FUNCTION query_waits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('umbel', 'queries wait');
    RETURN NULL;
END $$;
CREATE TRIGGER query_waits AFTER INSERT ON query_image FOR EACH STATEMENT EXECUTE FUNCTION query_waits();
