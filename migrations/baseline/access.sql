-- API keys, the page's sessions, the audit log.

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

-- Without a reference to api_key: what was done stays written down whatever becomes of the key.
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
