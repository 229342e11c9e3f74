"""Maps of the gallery: every picture of a collection as a point in the plane, per model version.

Revision: 0011
"""

from alembic import op

revision = "0011"
down_revision = "0012"
branch_labels = None
depends_on = None

# One row a job. The points are arrays of one length: a map is written and read as a whole, never searched.
MAP = """
CREATE TABLE gallery_map (
    job_id     uuid PRIMARY KEY REFERENCES job ON DELETE CASCADE,
    done       boolean NOT NULL DEFAULT false,
    images     integer,  -- that had a vector when it was drawn; more than points where only a sample was placed
    image_ids  uuid[],
    xs         real[],
    ys         real[],
    drawn_at   timestamptz,
    CHECK (cardinality(image_ids) = cardinality(xs) AND cardinality(xs) = cardinality(ys))
);
CREATE INDEX gallery_map_undone ON gallery_map (job_id) WHERE NOT done;
"""

TYPES = """
ALTER TABLE job DROP CONSTRAINT job_type_check,
    ADD CHECK (type IN ('upload', 'import', 'repair', 'comparison', 'deletion', 'reindex', 'map'));
"""


def upgrade() -> None:
    op.execute(MAP)
    op.execute(TYPES)


def downgrade() -> None:
    op.execute("""
        DROP TABLE gallery_map;
        DELETE FROM job WHERE type = 'map';
        ALTER TABLE job DROP CONSTRAINT job_type_check,
            ADD CHECK (type IN ('upload', 'import', 'repair', 'comparison', 'deletion', 'reindex'));
    """)
