-- One reindex runs at a time. phase: what it is at, or was when it ended; position: the last image that was listed.
CREATE TABLE reindex (
    job_id               uuid PRIMARY KEY REFERENCES job ON DELETE CASCADE,
    mode                 text NOT NULL CHECK (mode IN ('embeddings', 'index')),
    phase                text NOT NULL
        CHECK (phase IN ('listing', 'embedding', 'indexing', 'evaluating', 'switching', 'done')),
    activate             boolean NOT NULL,
    max_drop             double precision NOT NULL CHECK (max_drop BETWEEN 0 AND 1),
    hnsw_m               integer,
    hnsw_ef_construction integer,
    position             uuid,
    report               jsonb,
    done                 boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX one_reindex ON reindex ((true)) WHERE NOT done;
