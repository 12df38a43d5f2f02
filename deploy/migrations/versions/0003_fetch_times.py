"""How long the fetch of an image took, and when the image was settled: null for those settled before."""

from collections.abc import Sequence

from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # Without a default, so that no row is written however many there are.
    op.execute("ALTER TABLE image ADD COLUMN fetch_ms integer, ADD COLUMN settled_at timestamptz")


def downgrade() -> None:
    raise NotImplementedError("Migrations only go forward: restore a backup instead.")
