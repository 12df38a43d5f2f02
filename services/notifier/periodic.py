"""Rounds of rules: none of them holds up the others, neither by failing nor by having endless work."""

import time
from collections.abc import Callable, Iterable
from threading import Event
from typing import TypeVar

from prometheus_client import Counter
from sqlmodel import Session

from services.notifier.rules import MOST
from shared.db import Database
from shared.log import get_logger

T = TypeVar("T")
log = get_logger(__name__)
ACTED = Counter("halftone_sweeper_acted_total", "Rows on which a sweeper rule had to act.", ["rule"])


class Turn:
    """One rule's time in a round."""

    def __init__(self, seconds: float, stop: Event) -> None:
        self._until = time.monotonic() + seconds
        self._stop = stop

    def is_over(self) -> bool:
        return self._stop.is_set() or time.monotonic() >= self._until


Rule = Callable[[Turn], int]


def play(rules: Iterable[Rule], *, seconds: float, stop: Event) -> bool:
    """One round; says what the rules did. True where one of them acted and had not enough time for all it found."""
    unfinished = False
    for rule in rules:
        turn = Turn(seconds, stop)
        acted = _guarded(rule, turn)
        unfinished |= acted > 0 and turn.is_over()
    return unfinished


def each(database: Database, find: Callable[[Session], list[T]], act: Callable[[T], bool], turn: Turn) -> int:
    """Act on what is found, batch after batch, until it is all done, the turn is over, or `act` sees no use in it."""
    acted = 0
    while not turn.is_over():
        found = database.transact(find)
        for row in found:
            if not act(row):
                return acted
            acted += 1
            if turn.is_over():  # not before: whoever takes rows acts on one at least, or slow finding ends in nothing
                return acted
        if len(found) < MOST:
            break
    return acted


def _guarded(rule: Rule, turn: Turn) -> int:
    """Run one rule. One that fails is tried again in the next round."""
    name = rule.__name__
    try:
        acted = rule(turn)
    except Exception:
        log.exception("sweeper_rule_failed", rule=name)
        return 0
    if acted:
        ACTED.labels(name).inc(acted)
        log.info("swept", rule=name, rows=acted)
    return acted
