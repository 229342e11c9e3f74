-- Model versions and their embeddings.

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
    activated_at        timestamptz,
    replaced_id         uuid REFERENCES model_version,  -- active before it: where a rollback leads
    retired_at          timestamptz,
    hnsw_m              integer NOT NULL DEFAULT 24 CHECK (hnsw_m BETWEEN 2 AND 100),
    hnsw_ef_construction integer NOT NULL DEFAULT 128
        CHECK (hnsw_ef_construction BETWEEN 4 AND 1000 AND hnsw_ef_construction >= 2 * hnsw_m)
);
CREATE UNIQUE INDEX one_active_model_version ON model_version ((true)) WHERE state = 'active';
-- Beside the active version at most one is kept up to date: every new image costs a worker one forward for each.
CREATE UNIQUE INDEX one_standby_model_version ON model_version ((true)) WHERE state IN ('backfilling', 'ready');

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
