"""What was measured of an index's recall.

Revision: 0006
"""

from alembic import op

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None

RECALL_REPORT = """
CREATE TABLE recall_report (
    id               uuid PRIMARY KEY DEFAULT uuidv7(),
    model_version_id uuid NOT NULL REFERENCES model_version ON DELETE CASCADE,
    k                integer NOT NULL,
    sample           integer NOT NULL,
    ef_search        integer NOT NULL,
    recall           double precision NOT NULL CHECK (recall BETWEEN 0 AND 1),
    index_ms         double precision NOT NULL,
    exact_ms         double precision NOT NULL,
    ef_for_95        integer,
    ef_for_99        integer,
    steps            jsonb NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now()
)
"""


def upgrade() -> None:
    op.execute(RECALL_REPORT)


def downgrade() -> None:
    op.execute("DROP TABLE recall_report")
