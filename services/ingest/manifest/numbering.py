"""Numbers texts by first appearance, in 24 to 40 bytes for each text, however long it is.

A dict of a million URLs takes over 200 MB. Here a text is 128 bits of BLAKE2b in flat arrays, found by open addressing.
The digest is keyed: otherwise a file could be made whose texts all hash to the same slots.
"""

from array import array
from hashlib import blake2b
from secrets import token_bytes
from struct import Struct

_HALVES = Struct("=QQ").unpack
_FIRST_SLOTS = 1 << 10
_KEY = token_bytes(16)


class Numbering:
    """`number(text)` is 1 for the first text, 2 for the next new one, and the old number for one seen before."""

    def __init__(self) -> None:
        self._high = array("Q")
        self._low = array("Q")
        self._slots = array("I", bytes(4 * _FIRST_SLOTS))  # 0: free, else a number

    def __len__(self) -> int:
        return len(self._high)

    def number(self, text: str) -> int:
        high, low = _HALVES(blake2b(text.encode(), digest_size=16, key=_KEY).digest())
        slots, mask = self._slots, len(self._slots) - 1
        slot = high & mask
        while number := slots[slot]:
            if self._low[number - 1] == low and self._high[number - 1] == high:
                return int(number)
            slot = (slot + 1) & mask
        self._high.append(high)
        self._low.append(low)
        slots[slot] = len(self._high)
        if 2 * len(self._high) > mask:
            self._grow()
        return len(self._high)

    def _grow(self) -> None:
        slots = array("I", bytes(2 * 4 * len(self._slots)))
        mask = len(slots) - 1
        for number, high in enumerate(self._high, start=1):
            slot = high & mask
            while slots[slot]:
                slot = (slot + 1) & mask
            slots[slot] = number
        self._slots = slots
