"""Names inside the zip unpack on every system, and never onto each other."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.status.names import STEM_BYTES, Stems, fold, safe

# Names near each other: where they collide, files would be lost.
LETTERS = "aA\u00e4\u00c4\u0308\u00dfSs\ufb01fiI\u0131\u0130CONnul\u00b2"
AWKWARD = st.text(alphabet=LETTERS + '_~12/\\:"?*<>|. \t\n\x00\u200e-', max_size=12)
TEXTS = st.one_of(st.text(max_size=300), AWKWARD)


@given(st.lists(st.tuples(AWKWARD, AWKWARD, st.integers(1, 4)), max_size=30))
def test_no_two_names_are_equal_even_without_case(products: list[tuple[str, str, int]]) -> None:
    stems = Stems()
    names = [
        f"{stems.stem(row=row, serial_number=serial_number, name=name)}_{position}.jpg"
        for row, (serial_number, name, images) in enumerate(products, start=1)
        for position in range(1, images + 1)
    ]

    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        for case in (str.lower, str.upper, str.casefold):
            assert len({unicodedata.normalize(form, case(name)) for name in names}) == len(names)


@given(TEXTS, TEXTS, st.integers(1, 1_000_000))
def test_every_name_is_legal_everywhere(serial_number: str, name: str, row: int) -> None:
    stems = Stems()
    for stem in (stems.stem(row=row, serial_number=serial_number, name=name) for _ in range(2)):
        assert 0 < len(f"{stem}_100.webp".encode()) <= STEM_BYTES + 40
        assert not set(stem) & set('<>:"/\\|?*')
        assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in stem)
        assert not stem.startswith((" ", ".", "-", "~"))
        assert not stem.endswith((" ", "."))
        assert unicodedata.is_normalized("NFC", stem)


@pytest.mark.parametrize("name", ["CON", "nul", "Aux", "COM1", "lpt9", "COM²", "CON.txt", "prn .x", "CONOUT$"])
def test_device_names_are_not_used(name: str) -> None:
    assert safe(name) == f"_{name}"


def test_a_name_is_readable() -> None:
    assert Stems().stem(row=7, serial_number="7", name="Chair „Oslo“  (oak)") == "7_Chair „Oslo“ (oak)"


def test_directions_cannot_be_turned_and_paths_cannot_be_left() -> None:
    assert safe("../../etc/passwd") == "etc-passwd"
    assert safe("photo\u202egpj.exe") == "photo-gpj.exe"


def test_composed_and_decomposed_letters_are_the_same_name() -> None:
    assert fold(safe("u\u0308ber")) == fold(safe("\u00dcber"))


def test_long_names_end_at_a_character() -> None:
    assert safe("ü" * 200) == "ü" * 90
