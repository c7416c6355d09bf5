"""Broken NIfTI and DICOM files."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Iterator
from functools import cache

import nibabel as nib
import numpy as np
from pydicom.uid import CTImageStorage

from tests.broken.mutants import Mutant, generic, mutant
from tests.cohorts.dicom_files import blank

SLICE = (np.arange(32 * 32).reshape(32, 32) % 997).astype(np.int16)


@cache
def nifti(axes: int = 2) -> bytes:
    """A valid NIfTI of one slice, or of four."""
    array = SLICE if axes == 2 else np.dstack([SLICE] * 4)
    return bytes(nib.Nifti1Image(array, np.diag([1.0, 1.0, 2.0, 1.0])).to_bytes())


@cache
def dicom() -> bytes:
    """A valid CT slice."""
    stream = io.BytesIO()
    made = blank(CTImageStorage, SLICE)
    made.PixelSpacing, made.RescaleSlope, made.RescaleIntercept = [0.5, 0.5], 1, -1024
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def mutants() -> Iterator[Mutant]:
    """All of them."""
    yield from generic("nifti", "image", "image.nii", nifti(), head=False, flips=14)
    yield from generic("nifti-volume", "image", "image.nii", nifti(3), head=False)
    yield from generic("nifti-gz", "image", "image.nii.gz", gzip.compress(nifti(), mtime=0), flips=10)
    yield from generic("dicom", "image", "image.dcm", dicom(), head=False, flips=24)
    yield from _nifti()
    yield from _gzip()
    yield from _dicom()
    yield from _dicom_structure()


def field(place: int, form: str, *values: float) -> bytes:
    """The NIfTI with one field of its header overwritten."""
    made = bytearray(nifti())
    struct.pack_into(form, made, place, *values)
    return bytes(made)


def _nifti() -> Iterator[Mutant]:
    made = {
        "two-hundred-axes": field(40, "<h", 200),
        "no-axes": field(40, "<h", 0),
        "negative-axis": field(42, "<h", -5),
        "huge-axes": field(40, "<8h", 3, 32767, 32767, 32767, 1, 1, 1, 1),
        "seven-huge-axes": field(40, "<8h", 7, *[32767] * 7),
        "no-columns": field(42, "<h", 0),
        "unknown-type": field(70, "<h", 9999),
        "complex": field(70, "<hh", 32, 64),
        "offset-beyond": field(108, "<f", 1e9),
        "offset-infinite": field(108, "<f", float("inf")),
        "offset-nan": field(108, "<f", float("nan")),
        "intercept-infinite": field(112, "<ff", 1.0, float("inf")),
        "other-magic": field(344, "<4s", b"nope"),  # type: ignore[arg-type]
    }
    for name, content in made.items():
        yield mutant(f"nifti/{name}", "image", "image.nii", content)
    left = {
        "header-of-size-0": field(0, "<i", 0),
        "slope-infinite": field(112, "<f", float("inf")),
        "negative-offset": field(108, "<f", -352.0),
        "bits-that-do-not-fit": field(72, "<h", 3),
        "slope-nan": field(112, "<f", float("nan")),
        "spacing-nan": field(80, "<f", float("nan")),
        "spacing-0": field(76, "<8f", *[0.0] * 8),
        "spacing-infinite": field(80, "<f", float("inf")),
        "affine-nan": field(280, "<12f", *[float("nan")] * 12),
        "affine-0": field(252, "<hh26f", 2, 2, *[0.0] * 26),
        "extension-of-2-gigabytes": nifti()[:348] + b"\1\0\0\0" + struct.pack("<ii", 2**31 - 16, 6) + nifti()[352:],
        "extension-of-size-0": nifti()[:348] + b"\1\0\0\0" + struct.pack("<ii", 0, 6) + nifti()[352:],
        "big-endian-size": field(0, ">i", 348),
    }
    for name, content in left.items():
        yield mutant(f"nifti/{name}", "image", "image.nii", content, False)


def _gzip() -> Iterator[Mutant]:
    header = bytearray(nifti())
    struct.pack_into("<8h", header, 40, 3, 8000, 8000, 300, 1, 1, 1, 1)
    packed = gzip.compress(nifti(), mtime=0)
    made = {
        "bomb": gzip.compress(bytes(header) + bytes(2**26), 9, mtime=0),
        "not-packed": nifti(),
        "packed-twice": gzip.compress(packed, mtime=0),
        "wrong-method": packed[:2] + b"\x07" + packed[3:],
        "name-without-end": packed[:3] + b"\x08" + packed[4:10] + b"x" * 200000,
    }
    for name, content in made.items():
        yield mutant(f"nifti-gz/{name}", "image", "image.nii.gz", content)
    left = {
        "wrong-checksum": packed[:-8] + b"\0\1\2\3" + packed[-4:],
        "junk-behind": packed + b"junk" * 100,
        "empty-members": packed + gzip.compress(b"", mtime=0) * 2000,
        "zeros-behind": packed + gzip.compress(bytes(2**26), 9, mtime=0),
    }
    for name, content in left.items():
        yield mutant(f"nifti-gz/{name}", "image", "image.nii.gz", content, False)


def element(group: int, number: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """An element in explicit little endian; `length` can lie."""
    value += b" " * (len(value) % 2) if vr not in (b"OW", b"OB", b"SQ", b"UN") else b""
    size = len(value) if length is None else length
    head = struct.pack("<HH", group, number) + vr
    long = vr in (b"OW", b"OB", b"SQ", b"UN", b"UT", b"UC")
    return head + (b"\0\0" + struct.pack("<I", size) if long else struct.pack("<H", size & 0xFFFF)) + value


def short(value: int) -> bytes:
    """An unsigned 16-bit value."""
    return struct.pack("<H", value)


IMAGE: dict[tuple[int, int], tuple[bytes, bytes]] = {
    (0x0008, 0x0016): (b"UI", b"1.2.840.10008.5.1.4.1.1.2\0"),
    (0x0008, 0x0018): (b"UI", b"1.2.3\0"),
    (0x0028, 0x0002): (b"US", short(1)),
    (0x0028, 0x0004): (b"CS", b"MONOCHROME2"),
    (0x0028, 0x0010): (b"US", short(32)),
    (0x0028, 0x0011): (b"US", short(32)),
    (0x0028, 0x0030): (b"DS", b"0.5\\0.5"),
    (0x0028, 0x0100): (b"US", short(16)),
    (0x0028, 0x0101): (b"US", short(16)),
    (0x0028, 0x0102): (b"US", short(15)),
    (0x0028, 0x0103): (b"US", short(1)),
    (0x7FE0, 0x0010): (b"OW", SLICE.tobytes()),
}


def assembled(
    changed: dict[tuple[int, int], tuple[bytes, bytes] | None] | None = None,
    syntax: bytes = b"1.2.840.10008.1.2.1\0",
    body: bytes | None = None,
    before: bytes = b"",
) -> bytes:
    """A DICOM file put together element by element, with some changed, added or (None) left out."""
    held = {**IMAGE, **(changed or {})}
    parts = [element(*tag, *given) for tag, given in sorted(held.items()) if given is not None]
    meta = element(2, 0x10, b"UI", syntax)
    head = element(2, 0, b"UL", struct.pack("<I", len(meta))) + meta
    return bytes(128) + b"DICM" + head + before + (b"".join(parts) if body is None else body)


def _dicom() -> Iterator[Mutant]:
    pixels, rows, columns = (0x7FE0, 0x0010), (0x0028, 0x0010), (0x0028, 0x0011)
    made: dict[str, bytes] = {
        "huge-size": assembled({rows: (b"US", short(65535)), columns: (b"US", short(65535))}),
        "no-rows": assembled({rows: (b"US", short(0))}),
        "rows-left-out": assembled({rows: None}),
        "rows-empty": assembled({rows: (b"US", b"")}),
        "no-pixels": assembled({pixels: None}),
        "pixels-empty": assembled({pixels: (b"OW", b"")}),
        "fewer-pixels": assembled({pixels: (b"OW", SLICE.tobytes()[:-64])}),
        "allocated-3": assembled({(0x0028, 0x0100): (b"US", short(3))}),
        "allocated-left-out": assembled({(0x0028, 0x0100): None}),
        "samples-7": assembled({(0x0028, 0x0002): (b"US", short(7))}),
        "samples-0": assembled({(0x0028, 0x0002): (b"US", short(0))}),
        "frames-of-a-billion": assembled({(0x0028, 0x0008): (b"IS", b"1000000000")}),
        "frames-negative": assembled({(0x0028, 0x0008): (b"IS", b"-4")}),
        "frames-of-words": assembled({(0x0028, 0x0008): (b"IS", b"four")}),
        "slope-nan": assembled({(0x0028, 0x1053): (b"DS", b"nan"), (0x0028, 0x1052): (b"DS", b"0")}),
        "slope-of-words": assembled({(0x0028, 0x1053): (b"DS", b"steep"), (0x0028, 0x1052): (b"DS", b"0")}),
        "slope-infinite": assembled({(0x0028, 0x1053): (b"DS", b"1e999"), (0x0028, 0x1052): (b"DS", b"0")}),
        "palette-without-colours": assembled({(0x0028, 0x0004): (b"CS", b"PALETTE COLOR")}),
        "unknown-syntax": assembled(syntax=b"1.2.3.4.5\0"),
        "syntax-of-words": assembled(syntax=b"<no uid>"),
        "video-syntax": assembled(syntax=b"1.2.840.10008.1.2.4.102\0"),
        "deflated-that-is-none": assembled(syntax=b"1.2.840.10008.1.2.1.99\0"),
        "deflated-bomb": assembled(syntax=b"1.2.840.10008.1.2.1.99\0", body=_deflated(bytes(2**27))),
        "fragments-in-no-jpeg": assembled(syntax=b"1.2.840.10008.1.2.4.50\0"),
        "no-fragments": _encapsulated([]),
        "empty-fragments": _encapsulated([b"", b""]),
        "fragment-of-junk": _encapsulated([b"", b"junk" * 50]),
        "jpeg-2000-of-junk": _encapsulated([b"", b"\xff\x4f\xff\x51" + b"\xff" * 200], b"1.2.840.10008.1.2.4.90\0"),
        "rle-of-junk": _encapsulated([b"", struct.pack("<16I", 2**31, *[2**31] * 15)], b"1.2.840.10008.1.2.5\0"),
        "rle-bomb": _encapsulated(
            [b"", struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\0" * 100], b"1.2.840.10008.1.2.5\0"
        ),
    }
    for name, content in made.items():
        yield mutant(f"dicom/{name}", "image", "image.dcm", content)
    left = {
        "frames-0": assembled({(0x0028, 0x0008): (b"IS", b"0")}),
        "stored-40": assembled({(0x0028, 0x0101): (b"US", short(40))}),
        "spacing-of-words": assembled({(0x0028, 0x0030): (b"DS", b"wide\\high")}),
        "spacing-0": assembled({(0x0028, 0x0030): (b"DS", b"0\\0")}),
        "spacing-of-one": assembled({(0x0028, 0x0030): (b"DS", b"0.5")}),
        "spacing-of-a-thousand": assembled({(0x0028, 0x0030): (b"DS", b"\\".join([b"0.5"] * 1000))}),
        "orientation-0": assembled({(0x0020, 0x0037): (b"DS", b"0\\0\\0\\0\\0\\0")}),
        "unknown-character-set": assembled({(0x0008, 0x0005): (b"CS", b"ISO 9999")}),
        "unknown-photometric": assembled({(0x0028, 0x0004): (b"CS", b"XYZ")}),
    }
    for name, content in left.items():
        yield mutant(f"dicom/{name}", "image", "image.dcm", content, False)


def _deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def _encapsulated(fragments: list[bytes], syntax: bytes = b"1.2.840.10008.1.2.4.50\0") -> bytes:
    items = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(part)) + part for part in fragments)
    closed = items + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    body = b"".join(element(*tag, *given) for tag, given in sorted(IMAGE.items()) if tag != (0x7FE0, 0x0010))
    return assembled(syntax=syntax, body=body + element(0x7FE0, 0x0010, b"OB", b"", 0xFFFFFFFF) + closed)


def _dicom_structure() -> Iterator[Mutant]:
    """Nested, circular and lying lengths."""
    open_sequence = element(0x0008, 0x1140, b"SQ", b"", 0xFFFFFFFF)
    open_item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    close = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    deep = (open_sequence + open_item) * 3000
    made = {
        "sequences-without-end": assembled(before=deep, body=b""),
        "sequence-of-4-gigabytes": assembled(before=element(0x0008, 0x1140, b"SQ", b"", 0xFFFFFFF0), body=b""),
        "element-of-4-gigabytes": assembled(before=element(0x0008, 0x0018, b"UN", b"", 0xFFFFFFFE), body=b""),
        "meta-of-4-gigabytes": bytes(128) + b"DICM" + element(2, 0, b"UL", struct.pack("<I", 2**32 - 1)),
    }
    for name, content in made.items():
        yield mutant(f"dicom/{name}", "image", "image.dcm", content)
    left = {
        "sequences-nested": assembled(before=deep + close * 3000),
        "unknown-representation": assembled({(0x0008, 0x0070): (b"ZZ", b"maker")}),
        "no-preamble": assembled()[132:],
        "preamble-alone-lost": assembled()[128:],
        "elements-twice": assembled(body=b"".join(element(*t, *g) for t, g in sorted(IMAGE.items())) * 2),
    }
    for name, content in left.items():
        yield mutant(f"dicom/{name}", "image", "image.dcm", content, False)
