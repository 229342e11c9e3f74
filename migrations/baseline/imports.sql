-- Sources of imports.

-- What a worker reads an import from, and how far it has come. position: of the last entry that was listed.
CREATE TABLE import_source (
    job_id            uuid PRIMARY KEY REFERENCES job ON DELETE CASCADE,
    spec              jsonb NOT NULL,
    label_from_folder boolean NOT NULL,
    dry_run           boolean NOT NULL,
    position          text,
    listed            integer NOT NULL DEFAULT 0,
    rejected          integer NOT NULL DEFAULT 0,
    skipped           integer NOT NULL DEFAULT 0,
    done              boolean NOT NULL DEFAULT false,
    retries           integer NOT NULL DEFAULT 0,  -- times in a row that it could not be reached
    next_try          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX import_source_open ON import_source (job_id) WHERE NOT done;
