"""The newest item of an image is found through an index, whatever Postgres knows of the table.

With the image alone in the index, the plan depended on statistics: without any, in the first minute of an import, each
question went through the items one by one, the newest first.

Revision: 0014
"""

from alembic import op

revision = "0014"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        DROP INDEX job_item_by_image;
        CREATE INDEX job_item_by_image ON job_item (image_id, id);
    """)


def downgrade() -> None:
    op.execute("""
        DROP INDEX job_item_by_image;
        CREATE INDEX job_item_by_image ON job_item (image_id);
    """)
