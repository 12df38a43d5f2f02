"""Numbers texts by first appearance, in 24 to 40 bytes for each text, however long it is.

A dict of a million URLs takes over 200 MB. Here a text is 128 bits in flat arrays, found by open addressing: Python's
own hash of it (SipHash, keyed for each process) and that of a prefix and it. Nobody who does not know the keys can make
a file whose texts are taken for each other or all want one slot. BLAKE2b would take three times as long.
"""

from array import array
from collections.abc import Iterable
from secrets import token_hex

_FIRST_SLOTS = 1 << 10
_KEY = token_hex(16)


class Numbering:
    """`number(text)` is 1 for the first text, 2 for the next new one, and the old number for one seen before."""

    def __init__(self) -> None:
        self._high = array("q")
        self._low = array("q")
        self._slots = array("I", bytes(4 * _FIRST_SLOTS))  # 0: free, else a number

    def __len__(self) -> int:
        return len(self._high)

    def number(self, text: str) -> int:
        return self.numbers((text,))[0]

    def numbers(self, texts: Iterable[str]) -> list[int]:
        """The number of each text. One loop without calls of ours: it runs a million times for a large manifest."""
        high_halves, low_halves, slots, mask = self._high, self._low, self._slots, len(self._slots) - 1
        key, count, numbers = _KEY, len(high_halves), []
        for text in texts:
            low, high = hash(text), hash(key + text)
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
