"""Nothing that names a patient reaches an output: planted names are looked for in every byte of every command's."""

from __future__ import annotations

import re
import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from medgan_qa import cli

PLANTED = {
    "the patient's name": "ZEBEDEE",
    "the patient's number": "MRN77112233",
    "the patient's birth": "19481203",
    "the accession number": "ACC5566778",
    "the referring physician": "QUIRKLE",
    "the hospital": "Saint Wobbegong",
    "the station": "STATION-XYLO",
    "the date of the study": "20230517",
    "the date in ISO form": "2023-05-17",
    "a private tag": "PRIVATE-GORGONZOLA",
    "the study": "1.2.826.0.1.3680043.8.498.777",
    "a folder": "VANDERPLOTZ",
    "a file": "snorkelwhacker",
    "a NIfTI description": "descripFLUMMOX",
    "the folder of the dataset": "Clinic_Brouhaha",
    "a case": "Brobdingnag, Otto",
}
SIZE = 32
Nifti1Image: Any = nib.Nifti1Image


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """The first audits of the translation suite, and `data` among the commands."""
    import medgan_qa.suites as suites

    shipped = suites.suite

    def few(name: str) -> suites.Suite:
        whole = shipped(name)
        first = replace(whole.criteria, declared=whole.criteria.declared[:3])
        return replace(whole, audits=whole.audits[:4], optional=whole.audits[4:], criteria=first)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suites, "suite", few)
        patch.setitem(cli.COMMANDS, "data", "Propose and check datasets.")
        yield


def pictures(number: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.bool_]]:
    """Source, target and mask of one slice: a disc with a lesion."""
    g = np.random.default_rng(number)
    rows, columns = np.indices((SIZE, SIZE))
    body = np.hypot(rows - 16, columns - 16) < 13
    lesion = np.hypot(rows - g.integers(11, 21), columns - g.integers(11, 21)) < 3
    image = (np.where(body, 0.4, 0.02) + g.normal(0, 0.005, body.shape) + 0.3 * lesion).clip(0, 1)
    return (image * 4095).astype(np.uint16), (image**1.5 * 4095).astype(np.uint16), lesion


def dicom(path: Path, array: NDArray[np.uint16], series: str, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = MRImageStorage
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID = generate_uid()
    one.PatientName, one.PatientID = "ZEBEDEE^ANNA", PLANTED["the patient's number"]
    one.PatientBirthDate, one.AccessionNumber = PLANTED["the patient's birth"], PLANTED["the accession number"]
    one.ReferringPhysicianName, one.InstitutionName = "QUIRKLE^DR", PLANTED["the hospital"]
    one.StationName, one.StudyDate = PLANTED["the station"], PLANTED["the date of the study"]
    one.StudyInstanceUID, one.SeriesInstanceUID = (
        f"{PLANTED['the study']}.{number // 4}",
        generate_uid(entropy_srcs=[series]),
    )
    one.Modality, one.SeriesDescription = "MR", "t1 ZEBEDEE"
    block = one.private_block(0x0029, PLANTED["a private tag"], create=True)
    block.add_new(0x10, "LO", PLANTED["a private tag"])
    one.ImagePositionPatient, one.ImageOrientationPatient = [0, 0, float(number)], [1, 0, 0, 0, 1, 0]
    one.PixelSpacing, one.Rows, one.Columns = ["1.0", "1.0"], *array.shape
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 12, 11, 0
    one.PixelData = array.tobytes()
    one.save_as(path, enforce_file_format=True)


def nifti(path: Path, array: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Nifti1Image(array[..., None], np.eye(4))
    picture.header["descrip"] = PLANTED["a NIfTI description"].encode()
    nib.save(picture, path)


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of DICOM sources, NIfTI targets and masks in which every planted text stands somewhere."""
    folder = tmp_path_factory.mktemp("x") / PLANTED["the folder of the dataset"]
    lines = ["case_id,patient_id,partition,image,target,lesion_mask,study,acquired"]
    for number in range(24):
        source, target, mask = pictures(number)
        place = f"{PLANTED['a folder']}^{number // 2}"
        names = [f"{place}/{PLANTED['a file']}-{kind}-{number}" for kind in ("s", "t", "m")]
        dicom(folder / f"{names[0]}.dcm", source, str(number), number)
        nifti(folder / f"{names[1]}.nii.gz", target.astype(np.int16))
        nifti(folder / f"{names[2]}.nii.gz", mask.astype(np.uint8))
        case = f'"{PLANTED["a case"]} {number}","ZEBEDEE^{number // 2}",test'
        files = f"{names[0]}.dcm,{names[1]}.nii.gz,{names[2]}.nii.gz"
        lines.append(f"{case},{files},{PLANTED['the study']}.{number},{PLANTED['the date in ISO form']}")
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    (folder / "dataset.toml").write_text(
        'schema = "medgan-qa/dataset/1"\nname = "planted"\ncases = "cases.csv"\nvalue_range = [0.0, 4095.0]\n'
        'source_domain = "T2"\ntarget_domain = "FLAIR"\nlesion_in = ["source", "target"]\n'
    )
    (folder / "criteria.toml").write_text(
        'schema = "medgan-qa/criteria/1"\nprotocol = {id = "VP", revision = "A", title = "t"}\n'
        'context = {suite = "translation", output_role = "viewed"}\nalpha = 0.05\n\n[[criterion]]\nid = "AC-01"\n'
        'measurement = "PAT-001.removal_rate"\nlimit = {max = 0.9}\njudged_on = "upper"\nrationale = "r"\n'
        'hazard = "HZ-03"\nrequirement = "R"\n'
    )
    return folder


@pytest.fixture
def run(clinic: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, bytes]]:
    """Runs a command in this process, with and without --debug where it fails, and gives what it printed."""

    def call(*arguments: str) -> tuple[int, bytes]:
        capfd.readouterr()
        try:
            code = cli._run([*arguments], debug=False)
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        printed = capfd.readouterr()
        return code, (printed.out + printed.err).encode()

    return call


def text_of(path: Path) -> bytes:
    """All that a file holds: its bytes, and what is packed in them."""
    content = path.read_bytes()
    if path.suffix != ".pdf":
        return content
    parts = [content, *(_inflated(stream) for stream in re.findall(rb"stream\r?\n(.*?)endstream", content, re.DOTALL))]
    if shutil.which("pdftotext"):
        parts.append(subprocess.run(["pdftotext", path, "-"], capture_output=True, check=True).stdout)
    if shutil.which("pdfinfo"):
        parts.append(subprocess.run(["pdfinfo", "-meta", path], capture_output=True, check=True).stdout)
    return b"\n".join(parts)


def _inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(stream)
    except zlib.error:
        return b""


def leaks(content: bytes, but: tuple[str, ...] = ()) -> list[str]:
    """The planted texts that some output holds, also in the escapes of JSON and XML."""
    plain = content.decode("utf-8", "replace")
    return [kind for kind, text in PLANTED.items() if kind not in but and text.lower() in plain.lower()]


def everything(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        yield str(path.relative_to(folder)), str(path.name).encode()
        if path.is_file():
            yield str(path.relative_to(folder)), text_of(path)


def test_the_search_finds_what_is_packed_in_a_pdf(tmp_path: Path) -> None:
    packed = zlib.compress(b"BT (ZEBEDEE) Tj ET")
    (tmp_path / "a.bin").write_bytes(b"zebedee")
    assert leaks(text_of(tmp_path / "a.bin")) == ["the patient's name"]
    assert leaks(_inflated(packed)) == ["the patient's name"]
    assert not leaks(packed)


def test_a_proposal_holds_no_name_of_the_headers(clinic: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    folder = tmp_path / "images"
    shutil.copytree(clinic, folder, ignore=shutil.ignore_patterns("*.nii.gz", "*.toml", "*.csv"))
    code, printed = run("data", "init", str(folder))
    assert code == 0
    assert not leaks(printed)
    # Beside the images the table has to name their files, and it keeps the date that independence is judged by.
    allowed = ("a folder", "a file", "the date in ISO form")
    assert not leaks((folder / "cases.csv").read_bytes(), but=allowed)
    assert not leaks((folder / "dataset.toml").read_bytes())
    code, printed = run("data", "check", str(folder))
    assert code == 0
    assert not leaks(printed)


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_check_prints_and_writes_no_name(
    clinic: Path, tmp_path: Path, run: Callable[..., Any], more: tuple[str, ...]
) -> None:
    page, sheet = tmp_path / "check.html", tmp_path / "check.png"
    code, printed = run("data", "check", str(clinic), "--html", str(page), "--sheet", str(sheet), *more)
    assert code == 0
    assert not leaks(printed)
    assert not leaks(page.read_bytes())
    assert not leaks(sheet.read_bytes())


def test_a_lock_a_run_and_its_ledger_hold_no_name(clinic: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    folder, out = tmp_path / PLANTED["the folder of the dataset"], tmp_path / "run"
    shutil.copytree(clinic, folder)
    criteria, data = str(folder / "criteria.toml"), str(folder / "dataset.toml")
    code, printed = run("lock", criteria, "--data", data)
    assert code == 0
    # Where the lock was written is told to who asked for it there.
    assert not leaks(printed, but=("the folder of the dataset",))
    assert not leaks((folder / "criteria.lock.json").read_bytes())
    arguments = ["--suite", "translation", "--data", data, "--criteria", criteria, "--out", str(out)]
    code, printed = run("audit", "control:faithful", *arguments)
    assert code in (0, 1, 3), printed.decode()
    assert not leaks(printed)
    found = {name: said for name, content in everything(out) if (said := leaks(content))}
    found |= {path.name: said for path in folder.glob("*.jsonl") if (said := leaks(path.read_bytes()))}
    assert found == {}
    assert list(folder.glob("*.jsonl"))


@pytest.mark.parametrize("damage", ["dicom", "nifti", "missing", "twice", "volume"])
@pytest.mark.parametrize("debug", [False, True])
def test_a_broken_file_is_told_without_its_name(
    clinic: Path, tmp_path: Path, run: Callable[..., Any], damage: str, debug: bool
) -> None:
    folder = tmp_path / PLANTED["the folder of the dataset"]
    shutil.copytree(clinic, folder)
    _damage(folder, damage)
    for command in (["data", "check", str(folder)], ["lock", str(folder / "criteria.toml"), "--data", str(folder)]):
        if debug:
            text = _traced([*command, "--debug"])
        else:
            code, text = run(*command)
            assert code == 2, text.decode()
        assert text
        assert not leaks(text, but=("the folder of the dataset",) if debug else ())


def _damage(folder: Path, damage: str) -> None:
    files = sorted(folder.rglob("*.dcm" if damage in ("dicom", "volume") else "*.nii.gz"))
    if damage == "missing":
        files[0].unlink()
    elif damage == "twice":
        table = folder / "cases.csv"
        table.write_text(table.read_text() + table.read_text().splitlines()[1] + "\n")
    elif damage == "volume":
        with (folder / "dataset.toml").open("a") as file:
            file.write("[volumes]\n")
        files[0].write_bytes(b"DICM ZEBEDEE")
    else:
        content = bytearray(files[0].read_bytes())
        files[0].write_bytes(content[: len(content) // 2])


def _traced(command: list[str]) -> bytes:
    import sys

    code = "import sys; from medgan_qa import cli; cli.COMMANDS['data'] = ''; cli.main(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, check=False)
    assert done.returncode != 0
    return done.stdout + done.stderr
