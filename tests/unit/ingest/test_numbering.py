"""Numbers by first appearance."""

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.numbering import Numbering


def test_numbers_by_first_appearance() -> None:
    numbering = Numbering()
    assert [numbering.number(text) for text in ("a", "b", "a", "c", "b")] == [1, 2, 1, 3, 2]
    assert len(numbering) == 3


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
