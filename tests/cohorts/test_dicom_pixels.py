"""Pixels of DICOM objects: compressed, in colour, through tables; against the arrays that were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from medgan_qa.cohorts.readers import open_volume, read_image, read_mask
from medgan_qa.errors import DatasetError, MissingDependencyError
from tests.cohorts.dicom_files import blank, item, saved, write_enhanced

pytest.importorskip("openjpeg")
pytest.importorskip("rle")
gdcm: Any = pytest.importorskip("gdcm")

G = np.random.default_rng(5)
GREY = G.integers(-900, 900, (80, 72)).astype(np.int16)
RGB = G.integers(0, 255, (80, 72, 3)).astype(np.uint8)
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def refusal(path: Path) -> DatasetError:
    with pytest.raises(DatasetError) as caught:
        read_image(path)
    assert all((caught.value.expected, caught.value.found, caught.value.where, caught.value.todo))
    return caught.value


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEG2000Lossless])
def test_lossless_pixels_come_back_as_they_were(tmp_path: Path, syntax: uid.UID) -> None:
    dataset = blank(CAPTURE, GREY)
    dataset.compress(syntax)
    path = saved(dataset, tmp_path / "a.dcm", RescaleSlope="2", RescaleIntercept="-1024")
    np.testing.assert_array_equal(read_image(path)[0][0], GREY * 2.0 - 1024)
    np.testing.assert_array_equal(read_mask(path), GREY != 0)
    dataset = blank(CAPTURE, RGB)
    dataset.compress(syntax)
    np.testing.assert_array_equal(read_image(saved(dataset, tmp_path / "b.dcm"))[0], np.moveaxis(RGB, 2, 0))


@pytest.mark.parametrize(
    "syntax", [uid.JPEGLSLossless, uid.JPEGLosslessSV1, uid.JPEG2000Lossless], ids=["JPEG-LS", "JPEG", "JPEG 2000"]
)
def test_pixels_that_another_library_compressed_come_back_as_they_were(tmp_path: Path, syntax: uid.UID) -> None:
    grey = GREY.astype(np.uint16) + 1000 if syntax == uid.JPEGLosslessSV1 else GREY
    saved(blank(CAPTURE, grey), tmp_path / "plain.dcm")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(tmp_path / "plain.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(tmp_path / "a.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm")[0][0], grey)


def test_frames_of_a_compressed_enhanced_object_are_read_one_by_one(tmp_path: Path) -> None:
    frames = G.integers(0, 900, (5, 80, 72)).astype(np.uint16)
    import pydicom

    path = write_enhanced(tmp_path / "a.dcm", frames, [(0, 0, 8.0 - 2 * k) for k in range(5)])
    dataset = pydicom.dcmread(path)
    dataset.compress(uid.JPEG2000Lossless)
    volume = open_volume(saved(dataset, path))
    assert volume is not None
    for k in range(5):
        np.testing.assert_array_equal(volume.read(k)[0], frames[4 - k])


def test_ybr_becomes_rgb(tmp_path: Path) -> None:
    """The oracle is the equation of PS3.3 C.7.6.3.1.2, in the direction from RGB to YBR."""
    r, g, b = np.moveaxis(RGB.astype(float), 2, 0)
    ybr = [
        0.299 * r + 0.587 * g + 0.114 * b,
        -0.1687 * r - 0.3313 * g + 0.5 * b + 128,
        0.5 * r - 0.4187 * g - 0.0813 * b + 128,
    ]
    stored = np.clip(np.round(np.stack(ybr, 2)), 0, 255).astype(np.uint8)
    path = saved(blank(CAPTURE, stored), tmp_path / "a.dcm", PhotometricInterpretation="YBR_FULL")
    np.testing.assert_allclose(read_image(path)[0], np.moveaxis(RGB, 2, 0), atol=2)


def test_a_palette_becomes_its_colours(tmp_path: Path) -> None:
    table = G.integers(0, 65535, (3, 256)).astype(np.uint16)
    stored = G.integers(0, 255, (9, 8)).astype(np.uint8)
    dataset = blank(CAPTURE, stored)
    for name, colour in zip(("Red", "Green", "Blue"), table, strict=True):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(dataset, f"{name}PaletteColorLookupTableData", colour.tobytes())
    path = saved(dataset, tmp_path / "a.dcm", PhotometricInterpretation="PALETTE COLOR")
    np.testing.assert_array_equal(read_image(path)[0], table[:, stored])
    np.testing.assert_array_equal(read_mask(path), stored != 0)


def test_a_modality_table_is_applied(tmp_path: Path) -> None:
    table = (np.arange(256) ** 2).astype(np.uint16)
    stored = G.integers(0, 255, (9, 8)).astype(np.uint8)
    entry = item(LUTDescriptor=[256, 0, 16], ModalityLUTType="US", LUTData=table.tobytes())
    entry["LUTData"].VR = "OW"
    path = saved(blank(CAPTURE, stored), tmp_path / "a.dcm", ModalityLUTSequence=Sequence([entry]))
    np.testing.assert_array_equal(read_image(path)[0][0], table[stored])


@pytest.mark.parametrize(
    "syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian]
)
def test_every_plain_transfer_syntax_is_read(tmp_path: Path, syntax: uid.UID) -> None:
    dataset = blank(CAPTURE, GREY.byteswap() if syntax == uid.ExplicitVRBigEndian else GREY)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset._read_implicit, dataset._read_little = None, None
    path = saved(dataset, tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_image(path)[0][0], GREY)


def test_numbers_with_a_fraction_are_read(tmp_path: Path) -> None:
    values = G.standard_normal((9, 8)).astype(np.float32)
    dataset = blank(CAPTURE, values)
    del dataset.PixelData
    dataset.FloatPixelData = values.tobytes()
    np.testing.assert_array_equal(read_image(saved(dataset, tmp_path / "a.dcm"))[0][0], values)


def encapsulated(tmp_path: Path, syntax: uid.UID, frame: bytes, stored: NDArray[Any] = GREY) -> Path:
    dataset = blank(CAPTURE, stored)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return saved(dataset, tmp_path / "a.dcm")


@pytest.mark.parametrize("kind", ["JPEG 2000", "JPEG"])
def test_a_frame_larger_than_its_header_says_is_refused_before_it_is_unpacked(tmp_path: Path, kind: str) -> None:
    if kind == "JPEG":
        syntax = uid.JPEGBaseline8Bit
        frame = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x0b\x08\xff\xff\xff\xff\x01\x01\x11\x00"
    else:
        syntax = uid.JPEG2000Lossless
        sizes = b"".join(value.to_bytes(4, "big") for value in (60000, 60000, 0, 0, 60000, 60000, 0, 0))
        frame = b"\xff\x4f\xff\x51\x00\x29\x00\x00" + sizes + b"\x00\x01\x0f\x01\x01"
    error = refusal(encapsulated(tmp_path, syntax, frame))
    assert error.expected == "80 rows, 72 columns, 1 samples, as the header says"


def test_a_damaged_frame_says_nothing_on_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    dataset = blank(CAPTURE, GREY)
    dataset.compress(uid.JPEG2000Lossless)
    path = saved(dataset, tmp_path / "a.dcm")
    content = bytearray(path.read_bytes())
    start = content.find(b"\xff\x4f\xff\x51")
    content[start + 24 : start + 32] = b"\0" * 8  # tiles of no size
    path.write_bytes(bytes(content))
    refusal(path)
    assert capfd.readouterr() == ("", "")


def test_a_missing_decoder_names_syntax_and_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels.decoders import JPEGLSLosslessDecoder

    path = encapsulated(tmp_path, uid.JPEGLSLossless, b"\xff\xd8\xff\xf7" + b"\0" * 20)
    monkeypatch.setattr(JPEGLSLosslessDecoder, "_available", {})
    with pytest.raises(MissingDependencyError) as caught:
        read_image(path)
    assert "JPEG-LS Lossless" in str(caught.value)
    assert "medgan-qa[dicom]" in str(caught.value)


def test_film_is_refused(tmp_path: Path) -> None:
    error = refusal(encapsulated(tmp_path, uid.MPEG2MPML, b"\0" * 20))
    assert "MPEG2" in str(error.found)


def test_an_object_without_pixels_is_refused(tmp_path: Path) -> None:
    dataset = blank(CAPTURE, GREY)
    assert "no pixels" in str(refusal(saved(dataset, tmp_path / "a.dcm", PixelData=None)).found)
    assert "without rows" in str(refusal(saved(dataset, tmp_path / "a.dcm", Rows=None)).found)


def test_a_file_without_an_ending_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_image(saved(blank(CAPTURE, GREY), tmp_path / "IM0001"))[0][0], GREY)


def test_messages_quote_no_header(tmp_path: Path) -> None:
    path = saved(blank(CAPTURE, GREY), tmp_path / "a.dcm", RescaleSlope="1", RescaleIntercept="123456")
    content = path.read_bytes()
    assert content.count(b"123456") == 1
    path.write_bytes(content.replace(b"123456", b"Doe^Jo"))
    assert "Doe" not in str(refusal(path))
