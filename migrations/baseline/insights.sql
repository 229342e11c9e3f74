-- What comparing a collection with itself came to, and maps of it.

-- The k-NN graph of each collection under each model version, one row an image. Arrays, not one row an edge: they are
-- written and read together, and a row of 16 neighbors stays out of TOAST.
CREATE TABLE nearest_neighbors (
    model_version_id uuid NOT NULL REFERENCES model_version ON DELETE CASCADE,
    image_id         uuid NOT NULL REFERENCES image ON DELETE CASCADE,
    collection_id    uuid NOT NULL REFERENCES collection,
    neighbors       uuid[] NOT NULL,  -- nearest first, without the image itself
    distances        real[] NOT NULL,
    pixel_similarities       real[] NOT NULL,  -- of the pixels with each neighbor's; 0 where they were not looked at
    nearest          real GENERATED ALWAYS AS (distances[1]) STORED,
    pixel_similarity           real NOT NULL,  -- the largest of the pixel_similarities
    voted_label      text,  -- the image's label when its neighbors voted on it
    suggested_label  text,
    label_error_probability            real CHECK (label_error_probability BETWEEN 0 AND 1),
    compared_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (image_id, model_version_id),
    CHECK (cardinality(neighbors) = ALL (ARRAY[cardinality(distances), cardinality(pixel_similarities)]))
);
CREATE INDEX nearest_neighbors_by_nearest ON nearest_neighbors (model_version_id, collection_id, nearest);
CREATE INDEX nearest_neighbors_by_pixel_similarity ON nearest_neighbors (model_version_id, collection_id, pixel_similarity);
CREATE INDEX nearest_neighbors_by_label_error ON nearest_neighbors (model_version_id, collection_id, label_error_probability, image_id) WHERE label_error_probability > 0;

-- Of an image and no model. Without pixels and sharpness: it cannot be decoded. JPEG does not compress: do not try.
CREATE TABLE image_signature (
    image_id  uuid PRIMARY KEY REFERENCES image ON DELETE CASCADE,
    sharpness real,
    pixels     bytea
);
ALTER TABLE image_signature ALTER pixels SET STORAGE EXTERNAL;

-- One row a job. The points are arrays of one length: a map is written and read as a whole, never searched.
CREATE TABLE gallery_map (
    job_id     uuid PRIMARY KEY REFERENCES job ON DELETE CASCADE,
    done       boolean NOT NULL DEFAULT false,
    images     integer,  -- that had a vector when it was drawn; more than points where only a sample was placed
    image_ids  uuid[],
    xs         real[],
    ys         real[],
    computed_at   timestamptz,
    CHECK (cardinality(image_ids) = cardinality(xs) AND cardinality(xs) = cardinality(ys))
);
CREATE INDEX gallery_map_undone ON gallery_map (job_id) WHERE NOT done;
