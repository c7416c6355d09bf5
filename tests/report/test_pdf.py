from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pikepdf
import pytest

from medgan_qa import report
from medgan_qa.record import Record
from medgan_qa.report.attachments import Attached, attachments
from medgan_qa.report.pictures import LESION, swatch

RunMaker = Callable[..., Record]
Damage = Callable[[pikepdf.Pdf], None]

PAGE = (
    '<!DOCTYPE html><html lang="en"><head><title>A page</title>'
    '<meta name="dcterms.created" content="2026-11-03T10:14:41Z">'
    "</head><body><h1>One</h1><h2>Two</h2><p>Text <a href='#x'>link</a></p><p id=x>Here</p>{}</body></html>"
)


@pytest.fixture(scope="session")
def pdfa() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pdfa", Path(__file__).parent / "pdfa.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a figure, a link and an attachment, as a PDF without a fault."""
    path = tmp_path_factory.mktemp("small") / "small.pdf"
    attached = Attached("record.json", "application/json", "Source", "Record", b"{}")
    report.render_pdf(PAGE.format(swatch(LESION)), path, [attached])
    return path


def test_the_report_is_a_tagged_archive_with_the_run_inside(
    make_full_run: RunMaker, tmp_path: Path, pdfa: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    record = make_full_run(cases=40)
    with caplog.at_level(logging.WARNING, "weasyprint"):
        written = report.write_reports(tmp_path)
    assert caplog.messages == []
    assert [path.name for path in written] == ["report.html", "report.pdf"]
    assert pdfa.problems(written[1]) == []

    names = ["cases.csv", "criteria.json", "criteria.lock.json", "criteria.toml", "record.json"]
    assert pdfa.attached(written[1]) == {name: (tmp_path / name).read_bytes() for name in names}
    levels = pdfa.headings(written[1])
    assert levels[0] == 1
    assert levels.count(2) == 22
    shown = pdfa.alternatives(written[1])
    assert len(shown) == 2 + 1 + 3 * 4 + 1 + 1
    assert any(
        text.startswith("Exhibit 2: Removal rate by stratum. Interval plot. all lesions: 3.0 %") for text in shown
    )
    with pikepdf.open(written[1]) as pdf:
        assert str(pdf.docinfo["/Title"]) == f"DOC-4711: validation report, {record.subject['name']} 1.4.0"
        assert str(pdf.docinfo["/CreationDate"]) == "D:20261103101441Z"
        bookmarks = [str(item.title) for item in pdf.open_outline().root]
    assert [bookmarks[0], bookmarks[-1]] == ["1Summary", "GFiles"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_same_run_gives_the_same_bytes(
    make_run: RunMaker, tmp_path: Path, pdfa: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A Record of the schema's first version, so that this covers old ones too.
    make_run()
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    written = report.write_reports(tmp_path)
    assert pdfa.problems(written[1]) == []
    assert set(pdfa.attached(written[1])) == {"record.json", "cases.csv"}
    first = [path.read_bytes() for path in written]
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")
    for path in tmp_path.rglob("*"):
        os.utime(path, (1, 1))
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    shutil.copytree(tmp_path, moved)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert [path.read_bytes() for path in report.write_reports(moved)] == first


def test_a_logo_is_a_figure_of_the_archive(make_run: RunMaker, tmp_path: Path, pdfa: ModuleType) -> None:
    company = tmp_path / "company"
    company.mkdir()
    logo = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 2"><path d="M0 0H4V2Z"/></svg>'
    (company / "logo.svg").write_text(logo, encoding="utf-8")
    (company / "company.toml").write_text('name = "Example"\nlogo = "logo.svg"\n', encoding="utf-8")
    [image] = re.findall(r"<img[^>]*>", report.render_html(make_run(), tmp_path, company))
    report.render_pdf(PAGE.format(image), tmp_path / "logo.pdf")
    assert pdfa.problems(tmp_path / "logo.pdf") == []
    assert pdfa.alternatives(tmp_path / "logo.pdf") == ["Logo of Example"]


def test_only_what_the_folder_holds_is_attached(make_full_run: RunMaker, tmp_path: Path) -> None:
    make_full_run()
    assert [one.name for one in attachments(tmp_path)] == [
        "record.json",
        "criteria.json",
        "criteria.toml",
        "criteria.lock.json",
        "cases.csv",
    ]
    (tmp_path / "criteria.lock.json").unlink()
    assert "criteria.lock.json" not in {one.name for one in attachments(tmp_path)}


def test_types_and_relationships_of_attachments(small: Path) -> None:
    with pikepdf.open(small) as pdf:
        [spec] = pdf.Root.AF
        assert str(spec.AFRelationship) == "/Source"
        assert str(spec.EF.F.Subtype) == "/application/json"
        assert str(spec.EF.F.Params.ModDate) == "D:20261103101441Z"
        assert str(spec.UF) == "record.json"


def test_a_page_without_a_date_has_a_fixed_one(tmp_path: Path) -> None:
    page = re.sub(r"<meta[^>]*>", "", PAGE).format("")
    attached = [Attached("b.csv", "text/csv", "Data", "", b"b"), Attached("a.csv", "text/csv", "Data", "", b"a")]
    for name in ("one.pdf", "two.pdf"):
        report.render_pdf(page, tmp_path / name, attached)
    digests = {hashlib.sha256((tmp_path / name).read_bytes()).digest() for name in ("one.pdf", "two.pdf")}
    assert len(digests) == 1
    with pikepdf.open(tmp_path / "one.pdf") as pdf:
        assert list(pdf.attachments) == ["a.csv", "b.csv"]


def test_nothing_but_the_page_is_fetched(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "secret.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>", encoding="utf-8")
    page = PAGE.format(f'<img alt="x" src="{(tmp_path / "secret.svg").as_uri()}">')
    with caplog.at_level(logging.WARNING, "weasyprint"):
        report.render_pdf(page, tmp_path / "out.pdf")
    assert any("Failed to load image" in text for text in caplog.messages)


def figures(pdf: pikepdf.Pdf) -> list[Any]:
    return [one for one in pdf.objects if isinstance(one, pikepdf.Dictionary) and one.get("/S") == "/Figure"]


def descriptors(pdf: pikepdf.Pdf) -> list[Any]:
    return [one for one in pdf.objects if isinstance(one, pikepdf.Dictionary) and one.get("/Type") == "/FontDescriptor"]


def fonts(pdf: pikepdf.Pdf) -> list[Any]:
    found = [one for one in pdf.objects if isinstance(one, pikepdf.Dictionary) and one.get("/Type") == "/Font"]
    return [one for one in found if "/ToUnicode" in one]


def without(owner: Callable[[pikepdf.Pdf], Any], key: str) -> Damage:
    def damage(pdf: pikepdf.Pdf) -> None:
        del owner(pdf)[key]

    return damage


def with_script(pdf: pikepdf.Pdf) -> None:
    pdf.Root.OpenAction = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS="app.alert(1)")


def with_address(pdf: pikepdf.Pdf) -> None:
    link = pdf.pages[0].Annots[0]
    link.A = pdf.make_indirect(pikepdf.Dictionary(S=pikepdf.Name.URI, URI="https://example.org"))


def with_loose_text(pdf: pikepdf.Pdf) -> None:
    pdf.pages[0].contents_add(b"BT /F1 9 Tf (loose) Tj ET")


def with_loose_heading(pdf: pikepdf.Pdf) -> None:
    heading = next(one for one in pdf.objects if isinstance(one, pikepdf.Dictionary) and one.get("/S") == "/H2")
    heading.S = pikepdf.Name.H4


def with_other_part(pdf: pikepdf.Pdf) -> None:
    with pdf.open_metadata(set_pikepdf_as_editor=False) as xmp:
        xmp["pdfaid:part"] = "2"


def with_other_title(pdf: pikepdf.Pdf) -> None:
    pdf.docinfo["/Title"] = "Another"


def with_interpolation(pdf: pikepdf.Pdf) -> None:
    image = pikepdf.Stream(pdf, b"\0")
    image.Subtype, image.Interpolate = pikepdf.Name.Image, True
    pdf.Root.Extra = image


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (without(lambda pdf: pdf.Root, "/Metadata"), "no XMP metadata"),
        (with_other_part, "part 2 and conformance A"),
        (with_other_title, "title of XMP"),
        (without(lambda pdf: pdf.Root, "/OutputIntents"), "no output intent"),
        (without(lambda pdf: pdf.Root.OutputIntents[0], "/DestOutputProfile"), "no output intent"),
        (without(lambda pdf: pdf.Root, "/MarkInfo"), "MarkInfo"),
        (without(lambda pdf: pdf.Root, "/StructTreeRoot"), "no structure tree"),
        (without(lambda pdf: pdf.Root, "/Lang"), "no language"),
        (without(lambda pdf: pdf.Root, "/Outlines"), "no bookmarks"),
        (without(lambda pdf: pdf.Root, "/AF"), "associated files"),
        (without(lambda pdf: pdf.Root.AF[0], "/AFRelationship"), "no relationship"),
        (without(lambda pdf: pdf.Root.AF[0].EF.F, "/Subtype"), "no media type"),
        (without(lambda pdf: figures(pdf)[0], "/Alt"), "no text alternative"),
        (without(lambda pdf: descriptors(pdf)[0], "/FontFile2"), "is not embedded"),
        (without(lambda pdf: fonts(pdf)[0], "/ToUnicode"), "which characters"),
        (without(lambda pdf: pdf.pages[0].Annots[0], "/F"), "not printed"),
        (with_script, "JavaScript"),
        (with_address, "/URI"),
        (with_loose_text, "outside of the tags"),
        (with_loose_heading, "level 4 follows one of level 1"),
        (with_interpolation, "interpolate"),
    ],
)
def test_the_check_finds_what_was_taken_out(
    small: Path, tmp_path: Path, pdfa: ModuleType, damage: Damage, words: str
) -> None:
    assert pdfa.problems(small) == []
    with pikepdf.open(small) as pdf:
        damage(pdf)
        pdf.save(tmp_path / "damaged.pdf")
    found = pdfa.problems(tmp_path / "damaged.pdf")
    assert any(words in problem for problem in found), found


def test_the_check_finds_encryption_and_damage(small: Path, tmp_path: Path, pdfa: ModuleType) -> None:
    with pikepdf.open(small) as pdf:
        pdf.save(tmp_path / "open.pdf", encryption=pikepdf.Encryption(owner="x", user=""))
        pdf.save(tmp_path / "closed.pdf", encryption=pikepdf.Encryption(owner="x", user="y"))
    assert "it is encrypted" in pdfa.problems(tmp_path / "open.pdf")
    assert pdfa.problems(tmp_path / "closed.pdf") == ["it is encrypted"]
