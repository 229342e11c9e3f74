"""A checkpoint may have several versions, each with the vectors of one time that everything was embedded with it.

Revision: 0018

Quick: there are few model versions.
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
oldest_code = "0005"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE model_version ADD COLUMN generation integer NOT NULL DEFAULT 1;
        ALTER TABLE model_version DROP CONSTRAINT model_version_weights_sha256_key;
        ALTER TABLE model_version ADD UNIQUE (weights_sha256, generation);
    """)


def downgrade() -> None:
    # It fails where a model was embedded with anew: code of before knows one version of each checkpoint.
    op.execute("""
        ALTER TABLE model_version DROP COLUMN generation;
        ALTER TABLE model_version ADD UNIQUE (weights_sha256);
    """)
