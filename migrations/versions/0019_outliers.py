"""An index for the images that are least like others.

Revision: 0019

Built beside running writes: seconds for a million images.
"""

from alembic import op

from migrations import concurrently

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None
oldest_code = "0005"

NAME = "nearest_neighbors_by_outlier"
# umbel/insights/outliers.py writes the same expression.
DISTANCE = "(distances[cardinality(distances)])"


def upgrade() -> None:
    concurrently.create_index(NAME, f"ON nearest_neighbors (model_version_id, collection_id, {DISTANCE}, image_id)")


def downgrade() -> None:
    op.execute(f"DROP INDEX IF EXISTS {NAME}")
