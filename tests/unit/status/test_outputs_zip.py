"""Names inside the zip unpack on every system, and never onto each other; a large zip needs little memory."""

import asyncio
import io
import tracemalloc
import unicodedata
import zipfile
from collections.abc import Iterator
from types import SimpleNamespace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request as HttpRequest

from services.status import files, outputs_zip
from services.status.outputs_zip import (
    CHUNK,
    READS_AT_ONCE,
    STEM_BYTES,
    Directory,
    UniqueNames,
    _Hashes,
    fold,
    safe,
    zip_chunks,
)
from services.status.views import ExportImage, ExportRow
from shared.blobs import BlobMissing
from shared.blobs.disk import DiskBlobs
from shared.http.limits import FairSemaphore

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
    sizes = [len(chunk) for chunk in archive_of(members) if chunk]
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
    next(chunk for chunk in chunks if chunk)
    chunks.close()  # type: ignore[attr-defined]
    assert directory._file.closed


class Counted(DiskBlobs):
    """Has `size` bytes under every key, or nothing; counts how often it is asked."""

    def __init__(self, size: int | None) -> None:
        self.size_of_each = size
        self.asked = 0

    def get(self, key: str) -> bytes:
        self.asked += 1
        if self.size_of_each is None:
            raise BlobMissing(key)
        return bytes(self.size_of_each)


def pages_of(images: int, *, state: str, seen: list[int]) -> Iterator[list[ExportRow]]:
    """A hundred pages of one product each; `seen` are those that were read."""
    sha256, kind = ("ab" * 32, "jpeg") if state == "completed" else (None, None)
    for row in range(1, 101):
        seen.append(row)
        yield [ExportRow(row, str(row), "Chair", [ExportImage(1, "", state, None, None, kind, sha256)] * images)]


def test_a_request_without_renditions_is_read_a_page_at_a_time() -> None:
    seen = list[int]()
    chunks = zip_chunks(pages_of(3, state="failed", seen=seen), Counted(None), request_id=REQUEST)

    assert [next(chunks), next(chunks)] == [b"", b""]
    assert seen == [1, 2]


@pytest.mark.parametrize("size", [1, None], ids=["tiny", "gone"])
def test_a_chunk_asks_the_store_for_few_renditions(size: int | None) -> None:
    blobs = Counted(size)
    before, most = 0, 0
    for _ in zip_chunks(pages_of(100, state="completed", seen=[]), blobs, request_id=REQUEST):
        before, most = blobs.asked, max(most, blobs.asked - before)

    assert blobs.asked == 100 * 100
    assert most <= READS_AT_ONCE


def test_names_of_missing_files_take_no_memory() -> None:
    """20,000 names: 2.5 MB as strings in a list."""

    def walk() -> bytes:
        tail = b""
        for chunk in zip_chunks(pages_of(200, state="completed", seen=[]), Counted(None), request_id=REQUEST):
            tail += chunk
        return tail

    tracemalloc.start()
    content = walk()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    file = zipfile.ZipFile(io.BytesIO(content))
    assert file.namelist() == ["MISSING.txt"]
    assert file.testzip() is None
    lines = file.read("MISSING.txt").decode().splitlines()
    assert (len(lines), lines[1], lines[-1]) == (20_001, "1_Chair_1.jpg", "100_Chair_200.jpg")
    assert peak < 3 * CHUNK + 2 * len(content)


def test_one_rendition_at_a_time_is_held() -> None:
    """While it is sent in chunks, and while the next one is read."""
    size = 40 * CHUNK
    chunks = zip_chunks(pages_of(1, state="completed", seen=[]), Counted(size), request_id=REQUEST)

    tracemalloc.start()
    sizes = [len(next(chunks)) for _ in range(100)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert max(sizes) < 2 * CHUNK
    assert peak < size + 10 * CHUNK


def test_an_empty_chunk_ends_the_turn_and_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "owner_of", lambda _: "someone")
    exports = FairSemaphore(1)
    turns = list[bool]()

    def chunks() -> Iterator[bytes]:
        for chunk in (b"a", b"", b"b"):
            turns.append(exports.locked())
            yield chunk

    async def sent() -> list[bytes]:
        app = SimpleNamespace(state=SimpleNamespace(exports=exports))
        return [chunk async for chunk in files._in_turn(HttpRequest({"type": "http", "app": app}), chunks())]

    assert asyncio.run(sent()) == [b"a", b"b"]
    assert turns == [True] * 3
    assert not exports.locked()


@given(st.lists(st.integers(-(2**62), 2**62)), st.integers(0, 5))
def test_hashes_are_a_set(keys: list[int], repeats: int) -> None:
    hashes = _Hashes()
    known: set[int] = set()
    for key in [*keys, *range(-600, 600), *keys[:repeats], 0, 1024, 2048]:
        assert hashes.add(key) == ((key or 1) not in known)
        known.add(key or 1)
