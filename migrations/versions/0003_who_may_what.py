"""The scope `upload`, import roots of keys, and the key that began a job.

Revision: 0003

Quick on any number of rows: columns without values, and a check of the few keys.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
oldest_code = "0002"  # it knows neither limit, so make such keys once all processes are new


def upgrade() -> None:
    op.execute("""
        ALTER TABLE api_key DROP CONSTRAINT api_key_scope_check;
        ALTER TABLE api_key ADD CONSTRAINT api_key_scope_check CHECK (scope IN ('read', 'upload', 'write', 'admin'));
        ALTER TABLE api_key ADD COLUMN import_roots text[];  -- NULL: all that the server has; empty: none
        UPDATE api_key SET import_roots = '{}' WHERE collections IS NOT NULL;
        ALTER TABLE import_source ADD COLUMN roots text[];  -- those of the key that began it
        ALTER TABLE job ADD COLUMN api_key_id uuid;  -- that began it; without a reference: keys may go before jobs
    """)


def downgrade() -> None:
    op.execute("""
        DELETE FROM api_key WHERE scope = 'upload';
        ALTER TABLE job DROP COLUMN api_key_id;
        ALTER TABLE import_source DROP COLUMN roots;
        ALTER TABLE api_key DROP COLUMN import_roots;
        ALTER TABLE api_key DROP CONSTRAINT api_key_scope_check;
        ALTER TABLE api_key ADD CONSTRAINT api_key_scope_check CHECK (scope IN ('read', 'write', 'admin'));
    """)
