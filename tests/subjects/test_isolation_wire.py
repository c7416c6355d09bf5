"""Messages and images between the audit and a model's process, of which the other side may send anything."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medgan_qa.errors import ConfigurationError, MissingDependencyError, ModelError
from medgan_qa.subjects.isolation import wire
from medgan_qa.subjects.isolation.errors import from_words, in_words
from medgan_qa.subjects.isolation.limits import MB, Limits, limits, machine_mb
from medgan_qa.subjects.networks import OutOfMemoryError

TEXTS = st.text(max_size=300)
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_a_message_arrives_with_its_files(pair: Pair) -> None:
    file = wire.memory(16)
    wire.send(pair[0], {"text": "ä" * 20_000, "n": [1, None]}, [file])
    message, files = wire.receive(pair[1], most_files=2)
    assert message == {"text": "ä" * 20_000, "n": [1, None]}
    assert [os.fstat(f).st_ino for f in files] == [os.fstat(file).st_ino]
    for each in (file, *files):
        os.close(each)


def open_files() -> int:
    place = Path("/proc/self/fd")
    return len(list(place.iterdir())) if place.is_dir() else 0


def test_files_that_nobody_asked_for_are_not_taken(pair: Pair) -> None:
    before = open_files()
    file = wire.memory(16)
    wire.send(pair[0], {"a": 1}, [file])
    os.close(file)
    assert wire.receive(pair[1]) == ({"a": 1}, [])
    assert open_files() == before


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (wire.LENGTH.pack(wire.MOST_BYTES + 1), "a message of"),
        (wire.LENGTH.pack(2) + b"[]", "no JSON object"),
        (wire.LENGTH.pack(3) + b"\xff\xfe\xfd", "no JSON"),
        (wire.LENGTH.pack(40_000) + b"[" * 40_000, "no JSON"),
        (wire.LENGTH.pack(2) + b"{}{}", "more than one"),
    ],
)
def test_what_is_no_message(pair: Pair, sent: bytes, says: str) -> None:
    pair[0].sendall(sent)
    with pytest.raises(wire.ProtocolError, match=says):
        wire.receive(pair[1])


def test_half_a_message_is_an_end_and_silence_has_one(pair: Pair) -> None:
    pair[0].sendall(wire.LENGTH.pack(100) + b"{")
    watched: list[int] = []
    wait = wire.until(pair[1], time.monotonic() + 0.05, lambda: watched.append(1), every=0.01)
    with pytest.raises(wire.SilenceError):
        wire.receive(pair[1], wait)
    assert watched
    pair[0].close()
    with pytest.raises(EOFError):
        wire.receive(pair[1])


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)))
def test_images_arrive_bit_by_bit(x: Any) -> None:
    file = wire.memory(4096)
    wire.put(file, x)
    np.testing.assert_array_equal(wire.take(file, x.shape), x)
    there = wire.Shared(file)
    np.testing.assert_array_equal(there.array(x.shape), x)
    there.close()


def test_less_than_was_promised() -> None:
    file = wire.memory(64)
    with pytest.raises(wire.ProtocolError, match="64 of 400"):
        wire.take(file, (100,))
    os.close(file)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="files of a fixed size are Linux's")
def test_the_size_of_a_buffer_is_fixed() -> None:
    file = wire.memory(64)
    for size in (0, 128):
        with pytest.raises(PermissionError):
            os.ftruncate(file, size)
    os.close(file)


@given(st.lists(st.integers(0, 1000), max_size=4))
def test_a_shape_is_taken_if_its_images_fit(shape: list[int]) -> None:
    if 4 * int(np.prod(shape, dtype=object)) <= 1 << 20:
        assert wire.checked_shape(shape, 1 << 20) == tuple(shape)
    else:
        with pytest.raises(wire.ProtocolError):
            wire.checked_shape(shape, 1 << 20)


@pytest.mark.parametrize("shape", [None, "x", 3, [1.0], [True], [-1], [1 << 31], [1] * 9, {"a": 1}])
def test_what_is_no_shape(shape: Any) -> None:
    with pytest.raises(wire.ProtocolError):
        wire.checked_shape(shape, 1 << 40)


@given(st.text(), st.integers(4, 50))
def test_a_text_that_is_shown_has_no_control_characters(text: str, most: int) -> None:
    shown = wire.printable(text, most)
    assert len(shown) <= most
    assert all(c == "\n" or c.isprintable() or not c.isascii() for c in shown)
    assert not set(shown) & {"\x1b", "\x07", "\r", "\x9b", "\u202e", "\u2066"}
    assert "\n" not in wire.last_lines(text.encode(errors="replace"))


@given(TEXTS, TEXTS)
def test_an_error_keeps_its_kind_and_its_words(problem: str, found: str) -> None:
    for kind in (ModelError, ConfigurationError, MissingDependencyError, OutOfMemoryError):
        back = from_words(in_words(kind(problem, found=found, where="a")))
        assert type(back) is kind
        assert back.where == "a"
        assert back.found == wire.printable(found, 2000)


def test_other_errors_are_the_models() -> None:
    back = from_words(in_words(ZeroDivisionError("by\nzero")))
    assert type(back) is ModelError
    assert back.found == "ZeroDivisionError: zero"
    assert type(from_words(in_words(MemoryError()))) is OutOfMemoryError
    strange = from_words({"error": "IntegrityError", "problem": 3, "found": ["x"]})
    assert type(strange) is ModelError
    assert strange.problem == "int"


def test_limits_grow_with_what_there_is_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    may = Limits(4000)
    assert may.reading_s(0, slow=False) <= 25
    assert may.reading_s(500 * MB, slow=False) > may.reading_s(MB, slow=False)
    assert may.batch_s(16) > may.batch_s(1)
    assert may.reading_mb(10 * MB, code=False) < 4000 == may.reading_mb(10 * MB, code=True)
    assert may.reading_mb(4000 * MB, code=False) == 4000
    monkeypatch.setenv("MEDGAN_QA_MODEL_TIMEOUT", "7")
    monkeypatch.setenv("MEDGAN_QA_MODEL_MEMORY_MB", "1234")
    assert limits() == Limits(1234, 7.0)
    assert limits().batch_s(100) == limits().reading_s(MB, slow=True) == 7
    assert "MEDGAN_QA_MODEL_TIMEOUT" in limits().as_dict()["time_limit"]
    assert machine_mb() > 256
