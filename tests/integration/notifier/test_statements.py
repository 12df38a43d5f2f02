"""How few statements the notifier needs."""

from typing import Any, LiteralString

import pytest
from sqlmodel import Session

from services.notifier import reconcile
from services.notifier.reconcile import Reconciler
from shared.db import Database, execute
from tests.integration.notifier.conftest import complete, dispatched
from tests.integration.seed import request_row


def test_a_group_that_is_done_takes_two_statements(
    database: Database, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []

    def counted(session: Session, statement: LiteralString, params: Any = None) -> list[dict[str, Any]]:
        statements.append(statement)
        return execute(session, statement, params)

    request_id, post = dispatched(database, images=700)
    for batch in post.batches[:48]:
        complete(database, batch)
    reconciler.run(request_id, 1, dispatch_no=1)  # marks the rate, once in half a minute
    monkeypatch.setattr(reconcile, "execute", counted)
    for group in (2, 3):
        statements.clear()
        reconciler.run(request_id, group, dispatch_no=1)
        assert len(statements) == 2
    assert request_row(database, request_id)["completed"] == 3 * 128
