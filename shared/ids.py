"""Identifiers: time-ordered, unguessable UUIDs."""

import secrets
import time
from uuid import UUID


def uuid7(*, now_ms: int | None = None) -> UUID:
    """A UUID version 7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, 74 random bits."""
    timestamp = now_ms if now_ms is not None else time.time_ns() // 1_000_000
    value = (timestamp & (1 << 48) - 1) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def parse_id(text: str) -> UUID | None:
    """The UUID that `text` spells in its canonical form, else None."""
    try:
        value = UUID(text)
    except ValueError:
        return None
    return value if str(value) == text.lower() else None
