"""Every message has exactly one actor, and every actor a message that someone sends."""

import ast
import importlib
from collections import Counter

import pytest

from shared.broker import receivers
from shared.messages import Message, all_messages
from tests.stack import ROOT

CONSUMERS = ("worker", "notifier")


def received_by(service: str) -> dict[type[Message], str]:
    return receivers(importlib.import_module(f"services.{service}.actors").Actors)


def test_every_message_has_exactly_one_actor() -> None:
    received = Counter(message for service in CONSUMERS for message in received_by(service))
    assert received == Counter(all_messages())


@pytest.mark.parametrize("service", CONSUMERS)
def test_an_actor_is_named_for_its_service_and_its_method(service: str) -> None:
    received = received_by(service)
    assert [message.actor for message in received] == [f"{service}.{method}" for method in received.values()]


def test_all_messages_are_all_the_messages() -> None:
    module = importlib.import_module("shared.messages")
    classes = {value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Message)}
    assert {kind for kind in classes if hasattr(kind, "actor")} == set(all_messages())


def test_every_message_is_sent_by_someone() -> None:
    sources = [path for path in (ROOT / "services").rglob("*.py") if path.name != "actors.py"]
    called = {
        node.func.id if isinstance(node.func, ast.Name) else getattr(node.func.value, "id", "")
        for path in sources
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
    }
    assert {message.__name__ for message in all_messages()} <= called
