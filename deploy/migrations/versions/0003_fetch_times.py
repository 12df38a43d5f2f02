"""The time of fetches, when images were settled, and the headers of webhooks sent: null for older rows."""

from collections.abc import Sequence

from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # Without defaults, so that no row is written however many there are.
    op.execute("ALTER TABLE image ADD COLUMN fetch_ms integer, ADD COLUMN settled_at timestamptz")
    op.execute("ALTER TABLE delivery_attempt ADD COLUMN webhook_timestamp text, ADD COLUMN webhook_signature text")


def downgrade() -> None:
    raise NotImplementedError("Migrations only go forward: restore a backup instead.")
