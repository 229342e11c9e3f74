"""Why a job failed has a code, as what became of an item has.

Revision: 0028

The column has a name that no table joined with `job` has: statements of the former version say `error_code` of items.
"""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None
oldest_code = "0005"


def upgrade() -> None:
    op.execute("ALTER TABLE job ADD COLUMN failure_code text")


def downgrade() -> None:
    op.execute("ALTER TABLE job DROP COLUMN failure_code")
