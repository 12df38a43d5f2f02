"""Binding actors: methods marked with the message they receive, declared on a broker by `consumer.run`.

There is no global broker and no stub actor: importing a message declares nothing (ADR 0001).
"""

from collections.abc import Callable
from typing import Any, TypeVar

import dramatiq
from pydantic import BaseModel

from shared.broker.queues import Broker
from shared.messages import Message

Method = TypeVar("Method", bound=Callable[..., BaseModel | None])
AnyMessage = TypeVar("AnyMessage", bound=Message)
Piped = TypeVar("Piped", bound=BaseModel)


def receives(
    message: type[Message], *, priority: int = 0, piped: type[BaseModel] | None = None
) -> Callable[[Method], Method]:
    """Mark a method as the receiver of `message`. `piped`: the class of the result of the pipeline's first half.

    Lower `priority` goes first.
    """

    def mark(method: Method) -> Method:
        method.__dict__["receives"] = (message, priority, piped)
        return method

    return mark


def receivers(actors: type) -> dict[type[Message], str]:
    """The messages that the methods of a class receive, by method name."""
    marks = {name: getattr(value, "receives", None) for name, value in vars(actors).items()}
    return {mark[0]: name for name, mark in marks.items() if mark}


def declare(broker: Broker, actors: object) -> None:
    """Declare every marked method of `actors` as an actor. From here on this process consumes their queues."""
    for name in receivers(type(actors)).values():
        method = getattr(actors, name)
        message, priority, piped = method.receives
        receive = _translated(method, message, piped)
        dramatiq.Actor(
            receive, broker=broker, actor_name=message.actor, queue_name=message.queue, priority=priority, options={}
        )


def in_hand(broker: Broker, message: type[AnyMessage], piped: type[Piped]) -> list[tuple[AnyMessage, Piped]]:
    """The messages of a class that are under way or wait for a thread in this process, with their piped results.

    An empty one for messages that begin a pipeline.
    """
    held = [one.args for one in list(broker.in_hand[message.queue].values()) if one.actor_name == message.actor]
    return [(message.model_validate(payload), piped.model_validate(*result or [{}])) for payload, *result in held]


def _translated(
    method: Callable[..., BaseModel | None], message: type[Message], piped: type[BaseModel] | None
) -> Callable[..., Any]:
    def receive(payload: Any, result: Any = None) -> Any:
        arguments = [message.model_validate(payload)] + ([piped.model_validate(result)] if piped else [])
        answer = method(*arguments)
        return answer.model_dump(mode="json") if answer is not None else None

    receive.__name__ = method.__name__
    return receive
