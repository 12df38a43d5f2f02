"""Numbers texts by first appearance, in 24 to 40 bytes for each text, however long it is.

A dict of a million URLs takes over 200 MB. Here a text is 128 bits of BLAKE2b in flat arrays, found by open addressing.
The digest is keyed (by a prefix, as BLAKE2 allows): otherwise a file could be made whose texts all want one slot.
"""

from array import array
from collections.abc import Iterable
from hashlib import blake2b
from secrets import token_bytes
from struct import Struct

_HALVES = Struct("=QQ").unpack_from  # of the digest's 64 bytes; asking for 16 of them takes a third longer
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
        return self.numbers((text,))[0]

    def numbers(self, texts: Iterable[str]) -> list[int]:
        """The number of each text. One loop without calls of ours: it runs a million times for a large manifest."""
        high_halves, low_halves, slots, mask = self._high, self._low, self._slots, len(self._slots) - 1
        count, numbers = len(high_halves), []
        for text in texts:
            high, low = _HALVES(blake2b(_KEY + text.encode()).digest())
            slot = high & mask
            while number := slots[slot]:
                if low_halves[number - 1] == low and high_halves[number - 1] == high:
                    break
                slot = (slot + 1) & mask
            else:
                high_halves.append(high)
                low_halves.append(low)
                count += 1
                slots[slot] = number = count
                if 2 * count > mask:
                    slots, mask = self._grow()
            numbers.append(number)
        return numbers

    def _grow(self) -> tuple["array[int]", int]:
        slots = array("I", bytes(2 * 4 * len(self._slots)))
        mask = len(slots) - 1
        for number, high in enumerate(self._high, start=1):
            slot = high & mask
            while slots[slot]:
                slot = (slot + 1) & mask
            slots[slot] = number
        self._slots = slots
        return slots, mask
