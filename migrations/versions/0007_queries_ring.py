"""A picture to search by tells the workers itself that it is there: its insertion notifies whoever listens.

Revision: 0007
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE FUNCTION query_waits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('umbel', 'queries wait');
    RETURN NULL;
END $$;
CREATE TRIGGER query_waits AFTER INSERT ON query_image FOR EACH STATEMENT EXECUTE FUNCTION query_waits();
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute("DROP TRIGGER query_waits ON query_image; DROP FUNCTION query_waits()")
