"""What a broken input is, and the breaks that any file can have."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from medgan_qa import rng

Kind = Literal["image", "dataset", "card", "criteria", "lock", "record", "model"]
"""How a file is read: see `tests.broken.worker`."""
Write = Callable[[Path], None]


class Mutant(NamedTuple):
    """One broken input."""

    name: str
    """Format and break, as `png/truncated-half`; also the folder that it is written into."""
    kind: Kind
    cell: str
    """What is named to the reader, relative to the folder."""
    write: Write
    """Writes it into its folder."""
    refused: bool = True
    """Nothing can be read from it. Otherwise what is left may be readable, and is either read or refused."""


def mutant(name: str, kind: Kind, cell: str, content: bytes, refused: bool = True) -> Mutant:
    """A mutant that is one file."""
    return Mutant(name, kind, cell, lambda folder: put(folder / cell.partition("#")[0], content), refused)


def put(path: Path, content: bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def generic(
    format_: str, kind: Kind, cell: str, seed: bytes, *, whole: bool = True, head: bool = True, flips: int = 6
) -> Iterator[Mutant]:
    """A valid file cut, overwritten, and with bits flipped at fixed places.

    Args:
        format_: first part of the names.
        kind: how it is read.
        cell: what is named to the reader.
        seed: the valid file.
        whole: a file that lacks its last half cannot be read. False for text, which may end anywhere.
        head: its first sixteen bytes say what it is.
        flips: number of files in which one byte is changed; these may still be readable.
    """
    n = len(seed)
    cuts = {"empty": 0, "one-byte": 1, "eight-bytes": 8, "quarter": n // 4, "half": n // 2}
    for name, length in cuts.items():
        yield mutant(f"{format_}/truncated-{name}", kind, cell, seed[:length], whole or length == 0)
    yield mutant(f"{format_}/truncated-most", kind, cell, seed[: n * 9 // 10], False)
    yield mutant(f"{format_}/truncated-last", kind, cell, seed[:-1], False)
    yield mutant(f"{format_}/random", kind, cell, rng.child(0, "broken", format_).bytes(n), whole)
    yield mutant(f"{format_}/tail-filled", kind, cell, seed[: n // 2] + b"\xff" * (n - n // 2), False)
    yield mutant(f"{format_}/head-zeroed", kind, cell, bytes(16) + seed[16:], whole and head)
    yield mutant(f"{format_}/another-format", kind, cell, b"%PDF-1.7\n" + seed[9:], whole and head)
    yield mutant(f"{format_}/twice", kind, cell, seed + seed, False)
    yield mutant(f"{format_}/junk-before", kind, cell, b"junk" * 4 + seed, False)
    places = rng.child(0, "flips", format_).choice(min(n, 2048), size=min(flips, n), replace=False)
    for place in sorted(int(p) for p in places):
        flipped = bytearray(seed)
        flipped[place] ^= 0xFF
        yield mutant(f"{format_}/byte-{place}-flipped", kind, cell, bytes(flipped), False)


def bomb(name: str, content: bytes, megabytes: int, said: int | None = None) -> bytes:
    """A zip archive with one member: `content`, and so many megabytes of zeros behind it, packed to a thousandth.

    Args:
        name: of the member.
        content: its first bytes.
        megabytes: that follow them.
        said: size that the archive gives for the member; None: the true one.
    """
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(content) + packer.flush(zlib.Z_FULL_FLUSH)
    # After a full flush what was packed once can be repeated.
    zeros = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = first + zeros * megabytes + packer.flush(zlib.Z_FINISH)
    size = len(content) + megabytes * 2**20 if said is None else said
    fields = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, 0, len(packed), size, len(name), 0)
    local = b"PK\x03\x04" + fields + name.encode()
    entry = b"PK\x01\x02" + struct.pack("<H", 20) + fields + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name.encode()
    end = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), len(local) + len(packed), 0)
    return local + packed + entry + b"PK\x05\x06" + end
