"""Broken PNG, TIFF, NPY and NPZ files."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.broken.mutants import Mutant, bomb, generic, mutant

GREY = (np.arange(32 * 32).reshape(32, 32) % 251).astype(np.uint8)
FLOATS = (GREY / 255).astype(np.float32)


class Canary:
    """Pickled, it writes a file where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (exec, ("open('unpickled', 'w').close()",))


def png(image: np.ndarray = GREY) -> bytes:
    """A valid PNG."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def tiff(pages: int = 1) -> bytes:
    """A valid TIFF."""
    stream = io.BytesIO()
    first, *rest = [Image.fromarray(GREY)] * pages
    first.save(stream, "TIFF", save_all=pages > 1, append_images=rest)
    return stream.getvalue()


def npy(array: np.ndarray = FLOATS) -> bytes:
    """A valid NPY."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    """A valid NPZ."""
    stream = io.BytesIO()
    np.savez(stream, **(arrays or {"image": FLOATS}))
    return stream.getvalue()


def mutants() -> Iterator[Mutant]:
    """All of them."""
    yield from generic("png", "image", "image.png", png())
    yield from generic("png-colour", "image", "image.png", png(np.dstack([GREY] * 3)), flips=10)
    yield from generic("tiff", "image", "image.tif", tiff(), flips=10)
    yield from generic("npy", "image", "image.npy", npy(), flips=10)
    yield from generic("npz", "image", "image.npz", npz(), flips=10)
    yield from _png()
    yield from _tiff()
    yield from _npy()
    yield from _npz()


def chunk(name: bytes, data: bytes) -> bytes:
    """A PNG chunk with its checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def drawn(width: int, height: int, pixels: bytes, depth: int = 8, colour: int = 0, before: bytes = b"") -> bytes:
    """A PNG of which every part can lie."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + before + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _png() -> Iterator[Mutant]:
    rows = zlib.compress(b"".join(b"\0" + bytes(row) for row in GREY))
    zeros = zlib.compress(bytes(2**24), 9)
    made = {
        "huge-header": drawn(2**31 - 1, 2**31 - 1, rows),
        "width-of-a-billion": drawn(10**9, 1, rows),
        "bomb": drawn(60000, 60000, zeros),
        "no-rows": drawn(32, 0, rows),
        "no-columns": drawn(0, 32, rows),
        "depth-3": drawn(32, 32, rows, depth=3),
        "colour-5": drawn(32, 32, rows, colour=5),
        "palette-without-colours": drawn(32, 32, rows, colour=3),
        "wrong-checksum": png().replace(png()[29:33], b"\0\1\2\3"),
        "no-pixels": drawn(32, 32, b""),
        "pixels-not-compressed": drawn(32, 32, bytes(GREY)),
        "fewer-pixels": drawn(64, 64, rows),
    }
    for name, content in made.items():
        yield mutant(f"png/{name}", "image", "image.png", content)
    text = drawn(32, 32, rows, before=chunk(b"zTXt", b"Comment\0\0" + zeros))
    profile = drawn(32, 32, rows, before=chunk(b"iCCP", b"p\0\0" + zeros))
    missing_end = png()[:-12]
    left = {"text-bomb": text, "profile-bomb": profile, "without-end": missing_end}
    for name, content in left.items():
        yield mutant(f"png/{name}", "image", "image.png", content, False)


def ifd(entries: list[tuple[int, int, int, int]], following: int = 0, data: bytes = bytes(GREY)) -> bytes:
    """A little-endian TIFF: header, pixels, one directory whose entries and successor can lie."""
    start = 8 + len(data)
    made = [struct.pack("<HHII", *entry) for entry in entries]
    return (
        b"II*\0"
        + struct.pack("<I", start)
        + data
        + struct.pack("<H", len(entries))
        + b"".join(made)
        + struct.pack("<I", following)
    )


def tags(**changed: int) -> list[tuple[int, int, int, int]]:
    """The entries of a grey 32 x 32 image, some with another value."""
    known = {"width": 256, "height": 257, "bits": 258, "compression": 259, "photometric": 262, "offset": 273}
    known |= {"samples": 277, "rows": 278, "count": 279}
    usual = {"width": 32, "height": 32, "bits": 8, "compression": 1, "photometric": 1, "offset": 8, "samples": 1}
    usual |= {"rows": 32, "count": 1024}
    return [(known[name], 4, 1, changed.get(name, value)) for name, value in usual.items()]


def _tiff() -> Iterator[Mutant]:
    start = 8 + 1024
    made = {
        "huge-size": ifd(tags(width=2**31 - 1, height=2**31 - 1, rows=2**31 - 1)),
        "wide": ifd(tags(width=2**30, rows=1, height=1)),
        "no-width": ifd(tags(width=0)),
        "no-bits": ifd(tags(bits=0)),
        "bits-7777": ifd(tags(bits=7777)),
        "unknown-compression": ifd(tags(compression=4711)),
        "deflate-that-is-none": ifd(tags(compression=8)),
        "offset-beyond": ifd(tags(offset=2**31)),
        "strip-of-4-gigabytes": ifd(tags(count=2**32 - 1, height=2**22, rows=2**22)),
        "samples-60000": ifd(tags(samples=60000)),
        "no-entries": ifd([]),
        "directory-beyond": b"II*\0" + struct.pack("<I", 2**31),
        "values-of-4-gigabytes": ifd([*tags()[:5], (273, 4, 2**30, 8), *tags()[6:]]),
    }
    for name, content in made.items():
        yield mutant(f"tiff/{name}", "image", "image.tif", content)
    loop = ifd(tags(), following=start)
    yield mutant("tiff/directory-follows-itself", "image", "image.tif", loop, False)
    pages = tiff(2)
    yield mutant("tiff/pages-follow-each-other", "image", "image.tif", _circled(pages), False)


def _circled(pages: bytes) -> bytes:
    """Two pages, of which the last is followed by the first."""
    first = struct.unpack_from("<I", pages, 4)[0]
    made, at = bytearray(pages), first
    while True:
        end = at + 2 + 12 * struct.unpack_from("<H", made, at)[0]
        following = struct.unpack_from("<I", made, end)[0]
        if not following:
            struct.pack_into("<I", made, end, first)
            return bytes(made)
        at = following


def described(text: str, data: bytes = bytes(FLOATS), version: int = 1) -> bytes:
    """A NPY whose description is any text."""
    header = text.encode("latin1", "replace")
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


def _npy() -> Iterator[Mutant]:
    shape = "{{'descr': '<f4', 'fortran_order': False, 'shape': {}, }}\n"
    made = {
        "huge-shape": described(shape.format("(1000000, 1000000)")),
        "shape-beyond-64-bits": described(shape.format("(99999999999, 99999999999, 99999999999)")),
        "negative-shape": described(shape.format("(-1, 32)")),
        "shape-of-words": described(shape.format("('a', 'b')")),
        "empty": npy(np.zeros((0, 32), np.float32)),
        "one-axis": npy(np.zeros(32, np.float32)),
        "seven-axes": npy(np.zeros((1, 1, 1, 2, 2, 32, 32), np.float32)),
        "objects": npy(np.array([[Canary(), 1], [2, 3]], object)),
        "code-in-description": described("__import__('os').system('touch unpickled')"),
        "deep-description": described("(" * 5000 + ")" * 5000, version=2),
        "description-of-a-gigabyte": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**30) + b"{",
        "records": npy(np.zeros((4, 4), [("a", "f4"), ("b", "i2")])),
        "texts": npy(np.full((4, 4), "text")),
        "dates": npy(np.zeros((4, 4), "M8[s]")),
        "complex": npy(np.zeros((4, 4), complex)),
        "nan": npy(np.full((32, 32), np.nan, np.float32)),
        "infinite": npy(np.full((32, 32), np.inf, np.float32)),
        "beyond-float32": npy(np.full((32, 32), 1e300)),
        "pickle": pickle.dumps(Canary()),
    }
    for name, content in made.items():
        yield mutant(f"npy/{name}", "image", "image.npy", content)


def archive(members: dict[str, bytes], compress: bool = False) -> bytes:
    """A zip archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as held:
        for name, content in members.items():
            held.writestr(name, content)
    return stream.getvalue()


def patched(content: bytes, local: int, central: int, value: int, size: str = "<H") -> bytes:
    """An archive in which one field of the first member lies, in its local header and in the directory."""
    made = bytearray(content)
    struct.pack_into(size, made, local, value)
    struct.pack_into(size, made, content.index(b"PK\1\2") + central, value)
    return bytes(made)


def _npz() -> Iterator[Mutant]:
    zeros = npy(np.zeros((4, 4), np.float32))
    large = described("{'descr': '<f8', 'fortran_order': False, 'shape': (20000, 20000), }\n", b"")
    fitting = described("{'descr': '<f4', 'fortran_order': False, 'shape': (32, 32), }\n", b"")
    made = {
        "bomb": bomb("image.npy", large, 3100),
        "bomb-of-another-size": bomb("image.npy", large, 3100, said=4096 + len(large)),
        "bomb-that-is-no-array": bomb("image.npy", b"", 3100),
        "no-arrays": archive({"readme.txt": b"nothing"}),
        "no-members": archive({}),
        "objects": archive({"image.npy": npy(np.array([Canary()], object))}),
        "pickle": archive({"image.npy": pickle.dumps(Canary())}),
        "encrypted": patched(npz(), 6, 8, 1),
        "unknown-compression": patched(npz(), 8, 10, 77),
        "wrong-checksum": patched(npz(), 14, 16, 7, "<I"),
        "member-of-4-gigabytes": patched(npz(), 22, 24, 2**32 - 2, "<I"),
        "archive-in-archive": archive({"image.npy": archive({"image.npy": zeros})}),
    }
    for name, content in made.items():
        yield mutant(f"npz/{name}", "image", "image.npz", content)
    left = {
        "bomb-behind-an-array": bomb("image.npy", fitting, 3100),
        "only-leaving-names": archive({"../../outside": zeros}),
        "leaving-name": archive({"../../image.npy": zeros}),
        "absolute-name": archive({"/tmp/image.npy": zeros}),
        "many-members": archive({f"a{k}.npy": zeros for k in range(3000)}),
        "comment": npz() + b"x" * 70000,
    }
    for name, content in left.items():
        yield mutant(f"npz/{name}", "image", "image.npz", content, False)
