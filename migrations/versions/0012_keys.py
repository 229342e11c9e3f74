"""Keys, the page's sessions, the audit log, and quotas of collections.

Revision: 0012
"""

from alembic import op

revision = "0012"
down_revision = "0013"
branch_labels = None
depends_on = None

KEYS = """
CREATE TABLE api_key (
    id           uuid PRIMARY KEY DEFAULT uuidv7(),
    name         text NOT NULL,
    prefix       text NOT NULL UNIQUE,
    sha256       bytea NOT NULL CHECK (length(sha256) = 32),
    scope        text NOT NULL CHECK (scope IN ('read', 'write', 'admin')),
    collections  text[] CHECK (cardinality(collections) > 0),
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);
CREATE TABLE web_session (
    sha256     bytea PRIMARY KEY CHECK (length(sha256) = 32),
    api_key_id uuid NOT NULL REFERENCES api_key ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX web_session_by_key ON web_session (api_key_id);
CREATE INDEX web_session_by_end ON web_session (expires_at);
"""

# Without a reference to api_key: what was done stays written down whatever becomes of the key.
AUDIT = """
CREATE TABLE audit_event (
    id         uuid PRIMARY KEY DEFAULT uuidv7(),
    at         timestamptz NOT NULL DEFAULT now(),
    actor      text NOT NULL,
    api_key_id uuid,
    action     text NOT NULL,
    target     text NOT NULL,
    details    jsonb NOT NULL DEFAULT '{}',
    status     integer,
    request_id text,
    address    text
);
CREATE INDEX audit_event_by_time ON audit_event (at);
"""

# What a collection uses is counted only while it has a quota. FOR KEY SHARE waits for a quota that is being set (and
# that waits for us), so that every picture is counted once: by who sets the quota, or here.
QUOTAS = """
ALTER TABLE collection
    ADD max_images bigint CHECK (max_images >= 0), ADD max_bytes bigint CHECK (max_bytes >= 0),
    ADD used_images bigint NOT NULL DEFAULT 0, ADD used_bytes bigint NOT NULL DEFAULT 0;

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
"""


def upgrade() -> None:
    for part in (KEYS, AUDIT, QUOTAS):
        op.execute(part)


def downgrade() -> None:
    op.execute("""
        DROP TRIGGER count_removed ON image;
        DROP TRIGGER count_added ON image;
        DROP FUNCTION count_use();
        ALTER TABLE collection DROP COLUMN max_images, DROP COLUMN max_bytes, DROP COLUMN used_images,
            DROP COLUMN used_bytes;
        DROP TABLE audit_event, web_session, api_key;
    """)
