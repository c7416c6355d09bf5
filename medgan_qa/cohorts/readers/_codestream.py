"""The size that a JPEG, JPEG-LS or JPEG 2000 codestream declares of itself."""

from __future__ import annotations

import struct

_STANDALONE = {0x01, *range(0xD0, 0xD8)}  # TEM and restart markers: no length follows
_FRAME = ({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}) | {0xF7}  # start of frame, JPEG and JPEG-LS


def codestream_size(frame: bytes) -> tuple[int, int, int] | None:
    """Rows, columns and components; None where the bytes are no such codestream (RLE has no size of its own)."""
    start = frame.find(b"\xff\x4f\xff\x51")
    if 0 <= start <= 1024:
        return _jpeg_2000(frame[start : start + 48])
    return _jpeg(frame) if frame[:2] == b"\xff\xd8" else None


def _jpeg_2000(head: bytes) -> tuple[int, int, int] | None:
    """Image area less its offset (ISO/IEC 15444-1, A.5.1)."""
    if len(head) < 42:
        return None
    width, height, left, top = struct.unpack_from(">IIII", head, 8)
    return height - top, width - left, struct.unpack_from(">H", head, 40)[0]


def _jpeg(frame: bytes) -> tuple[int, int, int] | None:
    """The first start-of-frame segment (ISO/IEC 10918-1, B.2.2)."""
    at = 2
    while at + 10 <= len(frame):
        if frame[at] != 0xFF:
            return None
        marker = frame[at + 1]
        if marker == 0xFF or marker in _STANDALONE:
            at += 1 if marker == 0xFF else 2
        elif marker in _FRAME:
            rows, columns, components = struct.unpack_from(">HHB", frame, at + 5)
            return rows, columns, components
        else:
            at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return None
