"""Numbers by first appearance."""

from array import array
from itertools import count, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.manifest import numbering as module
from services.ingest.manifest.numbering import Numbering


def test_numbers_survive_growth() -> None:
    numbering = Numbering()
    texts = [f"https://a.example/{number}.jpg" for number in range(10_000)]
    assert [numbering.number(text) for text in texts] == list(range(1, 10_001))
    assert [numbering.number(text) for text in texts] == list(range(1, 10_001))


@given(st.lists(st.text(max_size=3)))
def test_it_is_a_dict(texts: list[str]) -> None:
    numbering, known = Numbering(), dict[str, int]()
    for text in texts:
        assert numbering.number(text) == known.setdefault(text, len(known) + 1)
    assert len(numbering) == len(known)


@given(st.lists(st.lists(st.text("ab", max_size=3), max_size=300), max_size=9))
def test_texts_are_numbered_together_as_one_by_one(lists: list[list[str]]) -> None:
    """Also where the table grows between two texts of a list."""
    together, single = Numbering(), Numbering()
    for texts in lists:
        assert together.numbers(texts) == [single.number(text) for text in texts]


def test_the_table_may_grow_in_the_middle_of_a_list() -> None:
    texts = [f"https://a.example/{number}.jpg" for number in range(5_000)]
    assert Numbering().numbers(texts + texts) == [*range(1, 5_001)] * 2


class Counted(array):  # type: ignore[type-arg]
    """An array that knows how often it was read."""

    reads = 0

    def __getitem__(self, index: int) -> int:  # type: ignore[override]
        Counted.reads += 1
        return int(super().__getitem__(index))


def test_no_file_can_be_made_of_texts_that_want_the_same_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"https://a.example/{number}" for number in islice(filter(_wants_the_first_slots, count()), 400)]
    monkeypatch.setattr(module, "array", Counted)
    monkeypatch.setattr(Counted, "reads", 0)
    numbering = Numbering()

    assert [numbering.number(text) for text in texts] == list(range(1, 401))

    assert Counted.reads < 4_000, "400 texts walked past each other"


def _wants_the_first_slots(number: int) -> bool:
    """As the hash without our prefix would have it, whose key the environment may fix (PYTHONHASHSEED)."""
    return hash(f"https://a.example/{number}") & 1023 < 8
