"""Pictures compared with their collection: the nearest others of each, and what those say of its label.

Revision: 0004
"""

from alembic import op

revision = "0004"
down_revision = "0002"
branch_labels = None
depends_on = None

# The k-NN graph of each collection under each model version, one row a picture. Arrays, not one row an edge: they are
# written and read together, and a row of 16 neighbours stays out of TOAST.
NEIGHBOURHOOD = """
CREATE TABLE neighbourhood (
    model_version_id uuid NOT NULL REFERENCES model_version ON DELETE CASCADE,
    image_id         uuid NOT NULL REFERENCES image ON DELETE CASCADE,
    collection_id    uuid NOT NULL REFERENCES collection,
    neighbours       uuid[] NOT NULL,  -- nearest first, without the image itself
    distances        real[] NOT NULL,
    pixel_similarities       real[] NOT NULL,  -- of the pixels with each neighbour's; 0 where they were not looked at
    nearest          real GENERATED ALWAYS AS (distances[1]) STORED,
    agreed           real NOT NULL,  -- the largest of the pixel_similarities
    voted_label      text,  -- the image's label when its neighbours voted on it
    suggested_label  text,
    label_error_probability            real CHECK (label_error_probability BETWEEN 0 AND 1),
    compared_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (image_id, model_version_id),
    CHECK (cardinality(neighbours) = ALL (ARRAY[cardinality(distances), cardinality(pixel_similarities)]))
);
CREATE INDEX neighbourhood_by_nearest ON neighbourhood (model_version_id, collection_id, nearest);
CREATE INDEX neighbourhood_by_agreement ON neighbourhood (model_version_id, collection_id, agreed);
CREATE INDEX neighbourhood_by_doubt ON neighbourhood (model_version_id, collection_id, label_error_probability, image_id) WHERE label_error_probability > 0;
"""

# Of a picture and no model. Without thumb and sharpness: it cannot be looked at. JPEG does not compress: do not try.
LOOK = """
CREATE TABLE look (
    image_id  uuid PRIMARY KEY REFERENCES image ON DELETE CASCADE,
    sharpness real,
    thumb     bytea
);
ALTER TABLE look ALTER thumb SET STORAGE EXTERNAL;
"""

LEDGER = """
ALTER TABLE job_item DROP CONSTRAINT job_item_queue_check, ADD CHECK (queue IN ('single', 'bulk', 'fetch', 'compare'));
ALTER TABLE job DROP CONSTRAINT job_type_check, ADD CHECK (type IN ('upload', 'import', 'repair', 'comparison'));
"""


def upgrade() -> None:
    for part in (NEIGHBOURHOOD, LOOK, LEDGER):
        op.execute(part)


def downgrade() -> None:
    # The older schema has no words for comparisons, and nothing is lost with them: they can be made again.
    op.execute("""
        DROP TABLE neighbourhood, look;
        DELETE FROM job WHERE type = 'comparison';
        ALTER TABLE job DROP CONSTRAINT job_type_check, ADD CHECK (type IN ('upload', 'import', 'repair'));
        ALTER TABLE job_item
            DROP CONSTRAINT job_item_queue_check, ADD CHECK (queue IN ('single', 'bulk', 'fetch'));
    """)
