"""Webhooks that are not posted: each is an attempt with its reason."""

from contextlib import closing
from dataclasses import replace
from uuid import UUID

from services.notifier.deliver import WebhookSender
from shared.egress import Egress
from tests.integration.notifier.test_deliver import HOOK, attempt, attempts_of
from tests.integration.seed import sql
from tests.origin import Origin


def test_a_delivery_to_this_service_itself_is_stopped_with_its_reason(
    sender: WebhookSender, request_id: UUID, receiver: Origin
) -> None:
    with closing(Egress([receiver.place], public_url=receiver.url("/"))) as egress:
        delivery = attempt(replace(sender, egress=egress), request_id)
    assert (delivery["status"], delivery["attempt"], receiver.hits(HOOK)) == ("stopped", 1, 0)
    assert attempts_of(sender.database, request_id)[0]["error"].startswith("blocked_url: The webhook leads back")


def test_a_url_that_is_refused_by_a_later_rule_is_the_last_attempt(sender: WebhookSender, request_id: UUID) -> None:
    sql(sender.database, "UPDATE delivery SET url = 'ftp://old.example' WHERE request_id = %(id)s", id=request_id)
    assert attempt(sender, request_id)["status"] == "stopped"
    assert attempts_of(sender.database, request_id)[0]["error"].startswith("blocked_url: ")
