"""Archives that two readers could read differently, that lead elsewhere, or that unpack out of proportion."""

from __future__ import annotations

import contextlib
import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.errors import ModelError
from medgan_qa.subjects import archives
from medgan_qa.subjects.archives import members_of


def packed(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


PLAIN = packed({"model/data.pkl": b"abc", "model/data/0": b"0123"})


def look(tmp_path: Path, content: bytes, **options: bool) -> list[zipfile.ZipInfo]:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    return members_of(path, **options)


def found(tmp_path: Path, content: bytes) -> str:
    with pytest.raises(ModelError) as caught:
        look(tmp_path, content)
    assert "damaged" in caught.value.problem or "archive" in caught.value.problem
    assert caught.value.where
    return str(caught.value.found)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_lets_an_ordinary_archive_through(tmp_path: Path, method: int) -> None:
    names = ["model/data.pkl", "model/data/0"]
    assert [info.filename for info in look(tmp_path, packed(dict.fromkeys(names, b"abc"), method))] == names


def test_lets_through_what_torch_writes(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"a.weight": torch.zeros(300, 300)}, path)
    assert len(members_of(path)) > 3


def test_something_before_the_archive(tmp_path: Path) -> None:
    assert "does not stand where" in found(tmp_path, b"#!/bin/sh\n" + PLAIN)


def test_something_behind_the_archive(tmp_path: Path) -> None:
    assert "behind the end" in found(tmp_path, PLAIN[:-2] + struct.pack("<H", 4) + b"note")
    assert "behind the end" in found(tmp_path, PLAIN + b"more")


def test_two_directories(tmp_path: Path) -> None:
    """One reader counts from the front, the other from the back: each finds a directory of its own."""
    evil = packed({"model/data.pkl": b"xyz", "model/data/0": b"0123"})
    end = struct.unpack("<4s4H2LH", evil[-22:])
    assert "does not stand where" in found(tmp_path, evil[:-22] + PLAIN[:-22] + struct.pack("<4s4H2LH", *end))


def test_a_larger_directory_that_says_something_else(tmp_path: Path) -> None:
    end = struct.unpack("<4s4H2LH", PLAIN[-22:])
    at = len(PLAIN) - 22
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 2, 2, 10, 20)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    assert "two directories" in found(tmp_path, PLAIN[:-22] + record + locator + PLAIN[-22:])
    honest = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 2, 2, end[5], end[6])
    assert len(look(tmp_path, PLAIN[:-22] + honest + locator + PLAIN[-22:])) == 2


@pytest.mark.parametrize(
    "names",
    [
        ["model/data.pkl", "model/DATA.pkl"],
        ["model/../../etc/passwd"],
        ["/etc/passwd"],
        ["model\\data.pkl"],
        ["model/dat\x01a"],
        ["model/a", "other/b"],
        ["model/naïve"],
    ],
)
def test_names_that_mislead(tmp_path: Path, names: list[str]) -> None:
    assert found(tmp_path, packed(dict.fromkeys(names, b"abc")))


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_two_members_of_one_name(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model/data.pkl", b"abc")
        archive.writestr("model/data.pkl", b"xyz")
    assert "two members of one name" in found(tmp_path, buffer.getvalue())


def test_several_folders_where_they_are_asked_for(tmp_path: Path) -> None:
    assert len(look(tmp_path, packed({"a/x": b"1", "b/y": b"2"}), one_folder=False)) == 2


def test_a_member_that_calls_itself_something_else(tmp_path: Path) -> None:
    first = PLAIN.replace(b"model/data.pkl", b"model/evil.pkl", 1)
    assert "calls itself b'model/evil.pkl'" in found(tmp_path, first)


def test_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = packed({"model/data.pkl": bytes(10**6)}, zipfile.ZIP_DEFLATED)
    look(tmp_path, content)
    monkeypatch.setattr(archives, "MOST_UNPACKED", 10**5)
    assert "unpack to 1000000" in found(tmp_path, content)


def test_a_bomb_whose_members_share_their_bytes(tmp_path: Path) -> None:
    """Many entries of the directory that point at one stretch of the file."""
    one = packed({"model/a": bytes(5000)})
    end = struct.unpack("<4s4H2LH", one[-22:])
    entry = one[end[6] : -22]
    entries = b"".join(entry.replace(b"model/a", b"model/" + bytes([c])) for c in b"bcdefgh")
    packed_end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 7, 7, len(entries), end[6], 0)
    assert "overlap" in found(tmp_path, one[: end[6]] + entries + packed_end)


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 1)
    assert "2 members" in found(tmp_path, PLAIN)


def test_a_link(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("model/data.pkl")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, b"/etc/passwd")
    assert "a link" in found(tmp_path, buffer.getvalue())


def test_another_method_of_packing(tmp_path: Path) -> None:
    assert "method 12" in found(tmp_path, packed({"model/data.pkl": b"abc"}, zipfile.ZIP_BZIP2))


@pytest.mark.parametrize("content", [b"", b"PK", PLAIN[:-1], PLAIN[:40], b"PK\3\4" + bytes(60)])
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    found(tmp_path, content)


@given(st.integers(0, len(PLAIN) - 1), st.integers(1, 255))
def test_a_changed_byte_ends_in_an_answer(tmp_path_factory: pytest.TempPathFactory, at: int, by: int) -> None:
    content = bytearray(PLAIN)
    content[at] ^= by
    path = tmp_path_factory.mktemp("changed") / "model.pt"
    path.write_bytes(content)
    # What still passes names the same members, but for a letter of a name that both places tell.
    with contextlib.suppress(ModelError):
        assert len(members_of(path)) == 2
