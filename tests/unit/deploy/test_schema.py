from alembic.config import Config
from alembic.script import ScriptDirectory

from deploy.local.schema import newest
from deploy.local.settings import ROOT


def test_the_newest_migration_is_known_as_alembic_knows_it() -> None:
    """Otherwise a start would skip a migration, or run Alembic each time."""
    script = ScriptDirectory.from_config(Config(ROOT / "deploy" / "migrations" / "alembic.ini"))
    assert script.get_heads() == [newest()]
