"""Large tables are vacuumed in small steps (ADR 33). Changes no row, and waits for no reader or writer."""

from collections.abc import Sequence

from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

LARGE = ("image", "product", "image_group")


def upgrade() -> None:
    for table in LARGE:
        op.execute(
            f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 10000,"
            " autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_vacuum_insert_threshold = 100000,"
            " autovacuum_analyze_scale_factor = 0.02, autovacuum_analyze_threshold = 10000)"
        )


def downgrade() -> None:
    raise NotImplementedError("Migrations only go forward: restore a backup instead.")
