"""Recall is measured within a collection, too.

Revision: 0009
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
oldest_code = "0005"


def upgrade() -> None:
    op.execute("ALTER TABLE recall_report ADD COLUMN collection text")  # its name; NULL: the whole gallery


def downgrade() -> None:
    op.execute("DELETE FROM recall_report WHERE collection IS NOT NULL")
    op.execute("ALTER TABLE recall_report DROP COLUMN collection")
