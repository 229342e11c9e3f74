"""A collection may have a calibration of its own, for each model version.

Revision: 0013
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
oldest_code = "0005"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE collection_calibration (
            collection_id    uuid NOT NULL REFERENCES collection ON DELETE CASCADE,
            model_version_id uuid NOT NULL REFERENCES model_version,
            calibration      jsonb NOT NULL,
            calibrated_at    timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (collection_id, model_version_id)
        )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE collection_calibration")
