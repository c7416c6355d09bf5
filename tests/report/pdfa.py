"""What PDF/A-3a (ISO 19005-3, level A) asks of a report and can be read off its objects.

No validator: it looks at what a renderer gets wrong in practice, says what is missing, and is itself tested on files
with one property taken out each.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pikepdf

_FORBIDDEN_ACTIONS = {
    "/JavaScript",
    "/Launch",
    "/SubmitForm",
    "/ResetForm",
    "/ImportData",
    "/Sound",
    "/Movie",
    "/Rendition",
    "/GoToR",
    "/URI",
}
_HEADING = re.compile(r"/H([1-6])")
_TEXT = {"Tj", "TJ", "'", '"'}
_DESCENDANTS = ("/FontFile", "/FontFile2", "/FontFile3")


def problems(path: Path) -> list[str]:
    """Everything that keeps a file from being a self-contained PDF/A-3a, in words; empty if nothing was found."""
    try:
        with pikepdf.open(path) as pdf:
            found = [
                *_metadata(pdf),
                *_catalog(pdf),
                *_structure(pdf),
                *_fonts(pdf),
                *_objects(pdf),
                *_attachments(pdf),
                *_annotations(pdf),
                *_content(pdf),
            ]
    except pikepdf.PasswordError:
        return ["it is encrypted"]
    return [*found, *_syntax(path)]


def attached(path: Path) -> dict[str, bytes]:
    """The files inside a PDF, by name."""
    with pikepdf.open(path) as pdf:
        return {name: pdf.attachments[name].get_file().read_bytes() for name in pdf.attachments}


def headings(path: Path) -> list[int]:
    """Levels of the headings in the order of the tags."""
    with pikepdf.open(path) as pdf:
        levels = [_HEADING.fullmatch(str(one.get("/S"))) for one in _elements(pdf)]
        return [int(level[1]) for level in levels if level]


def alternatives(path: Path) -> list[str]:
    """Text alternatives of all figures, in the order of the tags."""
    with pikepdf.open(path) as pdf:
        return [str(one.get("/Alt", "")) for one in _elements(pdf) if one.get("/S") == "/Figure"]


def _metadata(pdf: pikepdf.Pdf) -> Iterator[str]:
    if pdf.is_encrypted:
        yield "it is encrypted"
    if "/ID" not in pdf.trailer:
        yield "the trailer has no ID"
    if "/Metadata" not in pdf.Root:
        yield "there is no XMP metadata"
        return
    with pdf.open_metadata(set_pikepdf_as_editor=False, update_docinfo=False) as xmp:
        part, conformance, title = (xmp.get(key) for key in ("pdfaid:part", "pdfaid:conformance", "dc:title"))
    if (part, conformance) != ("3", "A"):
        yield f"XMP names part {part} and conformance {conformance}, not 3 and A"
    if not title or title != str(pdf.docinfo.get("/Title", "")):
        yield "the title of XMP and of the document information differ, or there is none"


def _catalog(pdf: pikepdf.Pdf) -> Iterator[str]:
    root = pdf.Root
    intents = [one for one in root.get("/OutputIntents", []) if one.get("/S") == "/GTS_PDFA1"]
    if not intents or "/DestOutputProfile" not in intents[0]:
        yield "there is no output intent with a profile"
    elif intents[0].DestOutputProfile.read_bytes()[36:40] != b"acsp":
        yield "the profile of the output intent is no ICC profile"
    if root.get("/MarkInfo", {}).get("/Marked") is not True:
        yield "MarkInfo does not say Marked"
    if not str(root.get("/Lang", "")):
        yield "there is no language"
    if root.get("/ViewerPreferences", {}).get("/DisplayDocTitle") is not True:
        yield "viewers are not told to show the title"
    if "/Outlines" not in root or "/First" not in root.Outlines:
        yield "there are no bookmarks"
    if "/OpenAction" in root or "/AA" in root:
        yield "the document acts when it is opened"


def _elements(pdf: pikepdf.Pdf) -> Iterator[Any]:
    """Structure elements, depth first."""
    left = [pdf.Root.StructTreeRoot.get("/K")] if "/StructTreeRoot" in pdf.Root else []
    while left:
        one = left.pop()
        if isinstance(one, pikepdf.Array):
            left.extend(reversed(list(one)))
        elif isinstance(one, pikepdf.Dictionary) and "/S" in one:
            yield one
            if "/K" in one:
                left.append(one.K)


def _structure(pdf: pikepdf.Pdf) -> Iterator[str]:
    if "/StructTreeRoot" not in pdf.Root or "/K" not in pdf.Root.StructTreeRoot:
        yield "there is no structure tree"
        return
    before = 0
    for one in _elements(pdf):
        kind = str(one.S)
        if kind == "/Figure" and not str(one.get("/Alt", "")).strip():
            yield "a figure has no text alternative"
        heading = _HEADING.fullmatch(kind)
        if heading:
            if int(heading[1]) > before + 1:
                yield f"a heading of level {heading[1]} follows one of level {before}"
            before = int(heading[1])


def _fonts(pdf: pikepdf.Pdf) -> Iterator[str]:
    for one in pdf.objects:
        if not isinstance(one, pikepdf.Dictionary) or one.get("/Type") != "/Font" or "/Subtype" not in one:
            continue
        name = str(one.get("/BaseFont", "unnamed"))
        if str(one.Subtype) in ("/CIDFontType0", "/CIDFontType2", "/TrueType", "/Type1"):
            descriptor = one.get("/FontDescriptor", {})
            if not any(key in descriptor for key in _DESCENDANTS):
                yield f"the font {name} is not embedded"
        if str(one.Subtype) not in ("/CIDFontType0", "/CIDFontType2") and "/ToUnicode" not in one:
            yield f"the font {name} does not say which characters it shows"


def _objects(pdf: pikepdf.Pdf) -> Iterator[str]:
    for one in _dictionaries(pdf):
        if "/JS" in one or (str(one.get("/S", "")) in _FORBIDDEN_ACTIONS and one.get("/Type") != "/StructElem"):
            yield f"there is an action {one.get('/S', '/JavaScript')}"
        if one.get("/Subtype") == "/Image" and one.get("/Interpolate") is True:
            yield "an image asks the viewer to interpolate"


def _dictionaries(pdf: pikepdf.Pdf) -> Iterator[Any]:
    """Every dictionary and stream, those inside others too."""
    left = list(pdf.objects)
    while left:
        one = left.pop()
        if isinstance(one, pikepdf.Array):
            left.extend(item for item in one if _is_direct(item))
        elif isinstance(one, pikepdf.Dictionary | pikepdf.Stream):
            yield one
            left.extend(item for item in one.values() if _is_direct(item))


def _is_direct(value: Any) -> bool:
    return isinstance(value, pikepdf.Object) and not value.is_indirect


def _attachments(pdf: pikepdf.Pdf) -> Iterator[str]:
    names = pdf.Root.get("/Names", {}).get("/EmbeddedFiles", {}).get("/Names", [])
    listed = [one.objgen for one in pdf.Root.get("/AF", [])]
    if len(set(listed)) < len(listed):
        yield "an associated file is listed twice"
    keys = [str(name) for name in list(names)[::2]]
    if keys != sorted(keys):
        yield "the names of the attachments are not sorted"
    for name, spec in zip(keys, list(names)[1::2], strict=True):
        if spec.objgen not in listed:
            yield f"the attachment {name} is not among the associated files"
        if str(spec.get("/AFRelationship", "/Unspecified")) == "/Unspecified":
            yield f"the attachment {name} has no relationship"
        if "/F" not in spec or "/UF" not in spec:
            yield f"the attachment {name} has no file name"
        stream = spec.EF.F
        if "/" not in str(stream.get("/Subtype", ""))[1:]:
            yield f"the attachment {name} has no media type"
        if "/ModDate" not in stream.get("/Params", {}):
            yield f"the attachment {name} has no date"


def _annotations(pdf: pikepdf.Pdf) -> Iterator[str]:
    for page in pdf.pages:
        for one in page.get("/Annots", []):
            if not int(one.get("/F", 0)) & 4:
                yield "an annotation is not printed"
            if one.get("/Subtype") == "/Link" and "/Contents" not in one:
                yield "a link has no description"


def _content(pdf: pikepdf.Pdf) -> Iterator[str]:
    for number, page in enumerate(pdf.pages, start=1):
        depth = 0
        for operands, operator in pikepdf.parse_content_stream(page):
            name = str(operator)
            depth += (name in ("BMC", "BDC")) - (name == "EMC")
            if name in _TEXT and depth == 0:
                yield f"page {number} shows text outside of the tags"
                break
            if name in _TEXT and any(b"\0\0" in pair for pair in _codes(operands)):
                yield f"page {number} shows a character that no font has"
                break


def _codes(operands: Any) -> Iterator[bytes]:
    """Two-byte character codes of a text operator."""
    for operand in operands:
        parts = list(operand) if isinstance(operand, pikepdf.Array) else [operand]
        for part in parts:
            if isinstance(part, pikepdf.String):
                raw = bytes(part)
                yield from (raw[k : k + 2] for k in range(0, len(raw), 2))


def _syntax(path: Path) -> Iterator[str]:
    if shutil.which("qpdf") is None:
        return
    done = subprocess.run(["qpdf", "--check", str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        yield f"qpdf: {(done.stderr or done.stdout).strip().splitlines()[-1]}"
