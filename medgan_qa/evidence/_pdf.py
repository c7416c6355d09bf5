"""What is done with PDFs through pyHanko: adding an empty signature, finding the last one, reading attached files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO, NamedTuple

from pyhanko.pdf_utils.generic import DictionaryObject
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import SigFieldSpec, SigSeedSubFilter
from pyhanko.sign.signers.cms_embedder import PdfCMSEmbedder, SigIOSetup, SigObjSetup
from pyhanko.sign.signers.constants import ESIC_EXTENSION_1
from pyhanko.sign.signers.pdf_byterange import SignatureObject

DEEPEST = 32
"""Levels of a tree of names that are followed."""


class Prepared(NamedTuple):
    """A PDF with an empty signature: `content[start:end]` is the value to fill in, with its angle brackets."""

    content: bytes
    start: int
    end: int


class _Update(IncrementalPdfFileWriter):
    """An incremental update that adds what it is told to and nothing else."""

    output_version = (1, 7)  # PDF/A-3 is built on PDF 1.7; the default would declare 2.0

    def _update_meta(self) -> None:
        """Leave the metadata alone: what the report says of its making stays true, and XMP and Info stay equal."""


def prepare(content: bytes, field: str, reason: str, size: int) -> Prepared:
    """Add an empty signature in an invisible field to a PDF.

    Args:
        content: the PDF.
        field: name of the new field.
        reason: text that readers show beside the signature.
        size: bytes to keep free for the signature's value.

    Raises:
        pyhanko.pdf_utils.misc.PdfError: it is no PDF that can be extended; damaged files raise other errors too.
    """
    writer = _Update(io.BytesIO(content))
    writer.register_extension(ESIC_EXTENSION_1)
    steps = PdfCMSEmbedder(SigFieldSpec(field)).write_cms(field, writer)
    next(steps)
    signature = SignatureObject(
        timestamp=datetime.now(UTC), subfilter=SigSeedSubFilter.PADES, reason=reason, bytes_reserved=2 * size
    )
    steps.send(SigObjSetup(sig_placeholder=signature))
    digest, output = steps.send(SigIOSetup(md_algorithm="sha256"))
    steps.close()
    return Prepared(output.getvalue(), digest.reserved_region_start, digest.reserved_region_end)


def last_signature(stream: BinaryIO) -> tuple[str, list[int]]:
    """Field and byte range of the signature that was added last.

    Raises:
        Exception: the file is damaged, or holds no signature.
    """
    signature = PdfFileReader(stream).embedded_signatures[-1]
    return str(signature.field_name), [int(number) for number in signature.byte_range]


def attached_files(content: bytes) -> dict[str, bytes]:
    """The files attached to a PDF, by name.

    Raises:
        Exception: the file is damaged.
    """
    root = PdfFileReader(io.BytesIO(content)).root
    tree = _value(_value(root, "/Names", {}), "/EmbeddedFiles", {})
    found: dict[str, bytes] = {}
    for specification in _leaves(tree, DEEPEST):
        name = str(specification["/UF" if "/UF" in specification else "/F"])
        if name in found:
            raise ValueError(f"{name} is attached twice")
        found[name] = specification["/EF"]["/F"].data
    return found


def _value(node: Any, key: str, missing: Any) -> Any:
    try:
        return node[key]  # follows references, which `get` and iterating do not
    except KeyError:
        return missing


def _leaves(node: Any, depth: int) -> Iterator[DictionaryObject]:
    if depth == 0:
        raise ValueError("a tree of names that is too deep")
    names, kids = _value(node, "/Names", ()), _value(node, "/Kids", ())
    for place in range(1, len(names), 2):
        yield names[place]
    for place in range(len(kids)):
        yield from _leaves(kids[place], depth - 1)
