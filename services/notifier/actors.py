"""The notifier's actors: each translates a message and calls one function."""

from dataclasses import dataclass

from services.notifier.deliver import WebhookSender, deliver
from services.notifier.reconcile import Reconciler
from shared.broker import receives
from shared.messages import CloseRequest, Deliver, GroupDone


@dataclass(frozen=True, slots=True, kw_only=True)
class Actors:
    reconciler: Reconciler
    sender: WebhookSender

    @receives(GroupDone, priority=0)
    def group_done(self, message: GroupDone) -> None:
        self.reconciler.run(message.request_id, message.group, dispatch_no=message.dispatch_no)

    @receives(CloseRequest, priority=5)
    def close_request(self, message: CloseRequest) -> None:
        self.reconciler.close(message.request_id)

    @receives(Deliver, priority=10)
    def deliver(self, message: Deliver) -> None:
        deliver(self.sender, message.delivery_id)
