"""Searches by a part of a picture, uploaded or stored.

Revision: 0020

A worker of the former version embeds the whole of a picture, and takes a stored one, which has no bytes here, for an
empty file: search by parts once all workers are new. The table is empty but for searches that wait.
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None
oldest_code = "0005"


def upgrade() -> None:
    op.execute("ALTER TABLE query_image ADD blob_key text, ADD box double precision[] CHECK (cardinality(box) = 4)")


def downgrade() -> None:
    op.execute("ALTER TABLE query_image DROP box, DROP blob_key")
