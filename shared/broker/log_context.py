"""What a message is about, in every log line that is written while it is worked on, libraries' lines too."""

from typing import Any

from dramatiq.middleware import Middleware
from structlog.contextvars import bind_contextvars, unbind_contextvars

IDS = ("request_id", "group", "delivery_id")
"""Fields of messages, under the same names in the log. The numbers of images stand in the lines that are about them."""


class LogContext(Middleware):
    """Dramatiq logs the exception of an actor after the actor, so the context ends with the message, not before."""

    def before_process_message(self, broker: Any, message: Any) -> None:
        del broker
        payload = message.args[0] if message.args else None
        if isinstance(payload, dict):
            bind_contextvars(**{name: payload[name] for name in IDS if payload.get(name) is not None})

    def after_process_message(self, broker: Any, message: Any, **_: Any) -> None:
        del broker, message
        unbind_contextvars(*IDS)
