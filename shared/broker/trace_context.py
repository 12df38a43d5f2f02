"""The trace that a message belongs to, while it is worked on. Its context is an option of Dramatiq's message.

A service that knows nothing of traces passes over it, and a message without one is a child of its request's root.
"""

from contextlib import AbstractContextManager
from threading import local
from typing import TYPE_CHECKING, Any

from dramatiq.middleware import Middleware

from shared.ids import parse_id
from shared.tracing import TRACEPARENT, Attributes

if TYPE_CHECKING:
    from shared.tracing.otlp import Tracing

NUMBERS = ("group", "dispatch_no")


class TraceContext(Middleware):
    """Stands before `HandOn`, and so ends after it: what follows a message is its child."""

    def __init__(self, tracing: "Tracing") -> None:
        self._tracing = tracing
        self._open = local()

    def before_process_message(self, broker: Any, message: Any) -> None:
        del broker
        self._open.span = self._received(message)
        self._open.span.__enter__()

    def after_process_message(
        self, broker: Any, message: Any, *, exception: BaseException | None = None, **_: Any
    ) -> None:
        del broker, message
        self._open.span.__exit__(type(exception) if exception else None, exception, None)

    def _received(self, message: Any) -> AbstractContextManager[object]:
        """Of its payload only ids and numbers are looked at: anything else may be a URL, or nonsense."""
        payload = message.args[0] if message.args and isinstance(message.args[0], dict) else {}
        request_id = parse_id(str(payload.get("request_id")))
        numbers = {name: payload[name] for name in NUMBERS if isinstance(payload.get(name), int)}
        about: Attributes = {
            "messaging.system": "dramatiq",
            "messaging.operation.type": "process",
            "messaging.operation.name": message.actor_name,
            "messaging.destination.name": message.queue_name,
            "messaging.message.id": message.message_id,
            "halftone.request_id": str(request_id),
        } | {f"halftone.{name}": number for name, number in numbers.items()}
        return self._tracing.received(
            request_id,
            numbers.get("group"),
            message.options.get(TRACEPARENT),
            f"process {message.actor_name.partition('.')[2]}",
            about,
        )
