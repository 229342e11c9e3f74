"""The index for pages of the jobs of some collections cannot be mistaken for that of all jobs.

Revision: 0012

Built beside running writes: a second for 100,000 jobs.
"""

from migrations import concurrently

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
oldest_code = "0005"

NAME = "job_in_collection"
FORMER = "ON job (collection_id, status, type, id)"
NEW = "ON job (collection_id, (status || ' ' || type), id)"


def upgrade() -> None:
    concurrently.create_index(NAME, NEW)


def downgrade() -> None:
    concurrently.create_index(NAME, FORMER)
