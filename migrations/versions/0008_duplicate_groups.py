"""Groups of near-duplicates, kept when they were computed.

Revision: 0008

Reads each compared image once: a second for 500,000.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
oldest_code = "0005"


def upgrade() -> None:
    op.execute("""
        -- changes: how often the nearest neighbors of the collection were changed; computed: of these, how many the
        -- groups know of, NULL before they are first computed.
        CREATE TABLE duplicate_grouping (
            id                   uuid PRIMARY KEY DEFAULT uuidv7(),
            model_version_id     uuid NOT NULL REFERENCES model_version ON DELETE CASCADE,
            collection_id        uuid NOT NULL REFERENCES collection ON DELETE CASCADE,
            max_distance         double precision NOT NULL,
            min_pixel_similarity double precision NOT NULL,
            changes              bigint NOT NULL DEFAULT 0,
            computed             bigint,
            UNIQUE (collection_id, model_version_id, max_distance, min_pixel_similarity)
        );
        CREATE INDEX duplicate_grouping_by_version ON duplicate_grouping (model_version_id);
        -- id: its newest image when it was computed. An array, as a group is written and read as a whole.
        CREATE TABLE duplicate_group (
            grouping_id uuid NOT NULL REFERENCES duplicate_grouping ON DELETE CASCADE,
            id          uuid NOT NULL,
            images      uuid[] NOT NULL,
            PRIMARY KEY (grouping_id, id)
        );
        CREATE INDEX duplicate_group_by_image ON duplicate_group USING gin (images);
        INSERT INTO duplicate_grouping (model_version_id, collection_id, max_distance, min_pixel_similarity)
        SELECT DISTINCT model_version_id, collection_id, 0.5, 0.8 FROM nearest_neighbors;
    """)


def downgrade() -> None:
    op.execute("DROP TABLE duplicate_group; DROP TABLE duplicate_grouping")
