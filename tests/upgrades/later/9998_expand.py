"""What a later migration of a large table looks like: a column, its values for the rows there are, an index."""

from collections.abc import Sequence

from alembic import op

from deploy.migrations.online import backfill, create_index
from shared.schema_version import SCHEMA

revision: str = "9998"
down_revision: str | None = SCHEMA
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("ALTER TABLE image ADD COLUMN IF NOT EXISTS host text")
    backfill("image", "host = split_part(url, '/', 3)", missing="host IS NULL")
    create_index("image_host", "image (request_id, host)")


def downgrade() -> None:
    raise NotImplementedError("Migrations only go forward: restore a backup instead.")
