"""Names inside the zip unpack on every system, and never onto each other; a large zip needs little memory."""

import io
import tracemalloc
import unicodedata
import zipfile
from collections.abc import Iterator
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.status import outputs_zip
from services.status.outputs_zip import (
    CHUNK,
    STEM_BYTES,
    Directory,
    UniqueNames,
    _Hashes,
    fold,
    safe,
    zip_chunks,
)
from services.status.views import ExportImage, ExportRow
from shared.blobs.disk import DiskBlobs

REQUEST = UUID(int=7)

# Names near each other: where they collide, files would be lost.
LETTERS = "aA\u00e4\u00c4\u0308\u00dfSs\ufb01fiI\u0131\u0130CONnul\u00b2"
AWKWARD = st.text(alphabet=LETTERS + '_~12/\\:"?*<>|. \t\n\x00\u200e-', max_size=12)
TEXTS = st.one_of(st.text(max_size=300), AWKWARD)


@given(st.lists(st.tuples(AWKWARD, AWKWARD, st.integers(1, 4)), max_size=30))
def test_no_two_names_are_equal_even_without_case(products: list[tuple[str, str, int]]) -> None:
    stems = UniqueNames()
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
    stems = UniqueNames()
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
    assert UniqueNames().stem(row=7, serial_number="7", name="Chair „Oslo“  (oak)") == "7_Chair „Oslo“ (oak)"


def test_directions_cannot_be_turned_and_paths_cannot_be_left() -> None:
    assert safe("../../etc/passwd") == "etc-passwd"
    assert safe("photo\u202egpj.exe") == "photo-gpj.exe"


def test_composed_and_decomposed_letters_are_the_same_name() -> None:
    assert fold(safe("u\u0308ber")) == fold(safe("\u00dcber"))


def test_long_names_end_at_a_character() -> None:
    assert safe("ü" * 200) == "ü" * 90


class SameBlob(DiskBlobs):
    """Has one byte under every key."""

    def __init__(self) -> None:
        pass

    def get(self, key: str) -> bytes:
        return key[-5:-4].encode()


def archive_of(members: int) -> Iterator[bytes]:
    image = ExportImage(1, "", "completed", None, None, "jpeg", "ab" * 32)
    pages = ([ExportRow(row, str(row), "Chair", [image] * 10)] for row in range(1, members // 10 + 1))
    return zip_chunks(pages, SameBlob(), request_id=REQUEST)


def test_beyond_the_members_of_a_plain_zip_it_becomes_zip64() -> None:
    content = b"".join(archive_of(65_540))

    file = zipfile.ZipFile(io.BytesIO(content))
    assert len(set(file.namelist())) == 65_540
    assert file.read("6554_Chair_10.jpg") == b"b"
    assert b"PK\x06\x06" in content[-200:]  # zip64's end of directory


def peak_of(members: int) -> int:
    tracemalloc.start()
    sizes = [len(chunk) for chunk in archive_of(members)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert min(sizes[:-1]) >= CHUNK
    return peak


def test_a_large_archive_is_sent_in_large_chunks_and_takes_no_memory_for_its_members() -> None:
    """A record of the central directory has 65 bytes; a product, which has 10 members here, may take 48."""
    assert peak_of(40_000) - peak_of(15_000) < 25_000 * 10


def test_the_directory_s_file_is_closed_when_the_client_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    directory = Directory()
    monkeypatch.setattr(outputs_zip, "Directory", lambda: directory)
    chunks = archive_of(20_000)
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert directory._file.closed


@given(st.lists(st.integers(-(2**62), 2**62)), st.integers(0, 5))
def test_hashes_are_a_set(keys: list[int], repeats: int) -> None:
    hashes = _Hashes()
    known: set[int] = set()
    for key in [*keys, *range(-600, 600), *keys[:repeats], 0, 1024, 2048]:
        assert hashes.add(key) == ((key or 1) not in known)
        known.add(key or 1)
