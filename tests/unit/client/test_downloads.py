import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from halftone_client.downloads import save, unpack
from halftone_client.errors import HalftoneError, Incomplete


def archive(members: dict[str, bytes], *, method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return file.getvalue()


def pieces(content: bytes, size: int = 7) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def ignored(_: int) -> None:
    """No progress."""


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_the_members_become_files_however_the_bytes_arrive(tmp_path: Path, size: int) -> None:
    members = {"1_Shoe_1.jpg": b"a" * 100, "2_Hüt_1.png": b"", "MISSING.txt": b"These:\r\n3_Bag_1.webp\r\n"}
    counted: list[int] = []
    missing = unpack(pieces(archive(members), size), tmp_path, counted.append)
    assert missing == ["3_Bag_1.webp"]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "1_Shoe_1.jpg": b"a" * 100,
        "2_Hüt_1.png": b"",
    }
    assert sum(counted) == 2


def test_an_archive_without_members_is_one(tmp_path: Path) -> None:
    assert unpack(pieces(archive({})), tmp_path, ignored) == []


@pytest.mark.parametrize("kept", [0, 3, 20, 60, 140])
def test_an_archive_that_breaks_off_is_not_taken_for_whole(tmp_path: Path, kept: int) -> None:
    whole = archive({"1_a.jpg": b"a" * 50, "2_b.jpg": b"b" * 50})
    with pytest.raises(Incomplete):
        unpack(pieces(whole[:kept]), tmp_path, ignored)
    assert all(path.read_bytes() == b"a" * 50 for path in tmp_path.iterdir()), "a part has no file"


def test_a_member_that_was_damaged_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(Incomplete, match="damaged"):
        unpack(pieces(archive({"a.jpg": b"right"}).replace(b"right", b"wrong")), tmp_path, ignored)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["../a.jpg", "/etc/a", "b/../../a", "b/a.jpg", "..", "..\\a.jpg", "C:\\a", "c:a", "a.jpg:stream"]
)
def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "in" / "folder"
    folder.mkdir(parents=True)
    with pytest.raises(HalftoneError, match="unsafe name"):
        unpack(pieces(archive({name: b"x"})), folder, ignored)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "name", ["Makefile", ".bashrc", ".a.jpg", "run.sh", "a.jpg.sh", "1_\x1b[2J.jpg", "1_\u202egpj.jpg"]
)
def test_only_pictures_are_written_and_their_names_are_plain(tmp_path: Path, name: str) -> None:
    """A service that is not what it seems must not replace what stands in the folder."""
    with pytest.raises(HalftoneError, match="unsafe name"):
        unpack(pieces(archive({name: b"x"})), tmp_path, ignored)
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "a.jpg").symlink_to(tmp_path / "mine")
    unpack(pieces(archive({"a.jpg": b"new"})), tmp_path, ignored)
    assert ((tmp_path / "mine").read_bytes(), (tmp_path / "a.jpg").read_bytes()) == (b"mine", b"new")


def test_what_is_no_file_is_written_to_and_stays_what_it_is(tmp_path: Path) -> None:
    """`--zip /dev/null`, by root."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert save(iter([b"ab", b"c"]), path, ignored) == 3
        assert os.read(reader, 9) == b"abc"
    finally:
        os.close(reader)
    assert path.is_fifo()


def test_what_is_not_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HalftoneError, match="--zip"):
        unpack(pieces(archive({"a.jpg": b"x" * 99}, method=zipfile.ZIP_DEFLATED)), tmp_path, ignored)
    with pytest.raises(HalftoneError, match="something else"):
        unpack(pieces(b"<html>" * 10), tmp_path, ignored)


def test_a_download_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_bytes(b"old")

    def broken() -> Iterator[bytes]:
        yield b"new"
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        save(broken(), path, ignored)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("out.csv", b"old")]
    assert save(iter([b"new", b"er"]), path, ignored) == 5
    assert path.read_bytes() == b"newer"
