from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from medgan_qa import report
from medgan_qa.errors import ConfigurationError
from medgan_qa.record import Record
from medgan_qa.report.resources import Templates

RunMaker = Callable[..., Record]
Renderer = Callable[..., str]
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 2"><path d="M0 0H4V2H0Z"/></svg>'
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def render(make_run: RunMaker, tmp_path: Path) -> Renderer:
    """Render the run with a template folder that holds the given files."""
    record, folder = make_run(), tmp_path / "company"

    def rendered(files: dict[str, str | bytes]) -> str:
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return report.render_html(record, tmp_path, folder)

    return rendered


def refused(render: Renderer, files: dict[str, str | bytes]) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as raised:
        render(files)
    error = raised.value
    assert all((error.expected, error.found, error.where, error.todo))
    return error


def test_a_company_names_itself_its_colour_and_its_documents(render: Renderer) -> None:
    page = render(
        {
            "company.toml": 'name = "Example & Co"\nlogo = "logo.png"\ncolour_accent = "#aa3300"\n'
            'header = "QMS form 17"\n'
            'footer = "internal"\nclassification = "Confidential"\nrevision = "A"\n'
            'document_id_pattern = "VR-{protocol}-{run}"\n',
            "logo.png": PNG,
            "company.css": ".lead { color: #123456; }",
        }
    )
    assert f'src="data:image/png;base64,{base64.b64encode(PNG).decode()}" alt="Logo of Example &amp; Co"' in page
    assert ":root { --accent: #aa3300; }" in page
    assert page.index("--accent: #1f3f66") < page.index("--accent: #aa3300") < page.index(".lead { color: #123456; }")
    assert "QMS form 17 · VR-VP-012-20261103T101200Z-7f3a" in page
    assert "VR-VP-012-20261103T101200Z-7f3a, revision A" in page
    assert page.count("Confidential") == 2
    assert 'aria-hidden="true">internal</p>' in page


def test_a_document_id_of_the_record_goes_before_the_pattern(make_full_run: RunMaker, tmp_path: Path) -> None:
    (tmp_path / "company").mkdir()
    (tmp_path / "company" / "company.toml").write_text('document_id_pattern = "VR-{run}"\n', encoding="utf-8")
    record = make_full_run(files={})
    assert "DOC-4711, revision C" in report.render_html(record, tmp_path, tmp_path / "company")


def test_a_part_takes_the_place_of_the_packages(render: Renderer) -> None:
    own = '{% include "shipped/parts/summary.j2" %}<p>Reviewed at {{ view.identity.suite }} board.</p>'
    page = render({"parts/summary.j2": own})
    assert "<p>Reviewed at Image-to-image translation board.</p>" in page
    assert 'data-clause="endpoints"' in page


def test_a_part_of_the_companys_own_can_be_added(render: Renderer) -> None:
    shipped = (ROOT / "report_templates" / "report.html.j2").read_text(encoding="utf-8")
    document = shipped.replace(
        '{% include "parts/summary.j2" %}', '{% include "parts/extra.j2" %}{% include "parts/summary.j2" %}'
    )
    assert "<p>An extra part.</p>" in render({"report.html.j2": document, "parts/extra.j2": "<p>An extra part.</p>"})


def test_a_template_that_drops_the_signatures_is_refused(render: Renderer, tmp_path: Path) -> None:
    error = refused(render, {"parts/signatures.j2": "<h2 id=signatures>Signatures</h2>"})
    assert "lacks the clause signatures" in error.problem
    assert "section 15 (Signatures)" in str(error.expected)
    assert error.where == str(tmp_path / "company")


@pytest.mark.parametrize(
    "part",
    [
        '<div data-clause="conclusion"></div><div data-clause="assessment">None.</div>',
        '<div data-clause="conclusion"> <svg><title>x</title></svg><style>p</style></div><p data-clause="assessment">x',
        '<p data-clause="conclusion"><br></p>a<p data-clause="assessment">x</p>',
    ],
)
def test_a_clause_without_a_text_is_refused(render: Renderer, part: str) -> None:
    error = refused(render, {"parts/conclusion.j2": part})
    assert "lacks the clause conclusion" in error.problem
    assert "without a text" in str(error.found)


def test_a_clause_in_a_text_of_the_record_counts_for_nothing(make_run: RunMaker, tmp_path: Path) -> None:
    (tmp_path / "company" / "parts").mkdir(parents=True)
    (tmp_path / "company" / "parts" / "conclusion.j2").write_text("<p>{{ view.sentence }}</p>", encoding="utf-8")
    record = make_run(reason='<p data-clause="conclusion">x</p><p data-clause="assessment">x</p>')
    with pytest.raises(ConfigurationError, match="lacks the clause conclusion"):
        report.render_html(record, tmp_path, tmp_path / "company")


def test_a_company_may_add_clauses_and_has_to_answer_them(render: Renderer) -> None:
    clause = '[[clause]]\nid = "training-record"\ntitle = "Training of the tester"\nsection = "system"\n'
    assert "training-record: Training of the tester" in refused(render, {"clauses.toml": clause}).problem
    part = '{% include "shipped/parts/system.j2" %}<p data-clause="training-record">TR-7</p>'
    assert 'data-clause="training-record"' in render({"parts/system.j2": part})


@pytest.mark.parametrize(
    ("clauses", "words"),
    [
        ('[[clause]]\nid = "signatures"\ntitle = "x"\nsection = "cover"\n', "listed again"),
        ('[[clause]]\nid = "x"\ntitle = "x"\n', "malformed"),
        ('[[clause]]\nid = "x"\ntitle = ""\nsection = "cover"\n', "malformed"),
        ("clause = [", "no TOML"),
    ],
)
def test_clauses_that_cannot_be_added_are_refused(render: Renderer, clauses: str, words: str) -> None:
    assert words in refused(render, {"clauses.toml": clauses}).problem


ENTRY = (
    'edition = "2027-03"\ndate = "2027-03-01"\n[[entry]]\nsource = "Standard X"\nstatus = "Final."\nclause = "4.2"\n'
)


def test_a_company_keeps_its_own_regulation_map(render: Renderer) -> None:
    own = f'{ENTRY}asks = "Signatures"\nsection = "signatures"\ncheck = true\nclauses = ["intended-use"]\n'
    page = render({"regulations.toml": own})
    shown = page.partition('id="regulation"')[2]
    assert "Edition 2027-03, as of 2027-03-01." in shown
    assert "Standard X" in shown
    assert "Final. Check before relying on it." in shown
    assert 'href="#signatures">15 Signatures</a><br><span class="gap">Not declared: Intended use</span>' in shown
    assert "21 CFR" not in shown


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (f'{ENTRY}asks = "x"\nsection = "nowhere"\n', "unknown section"),
        (f'{ENTRY}asks = "x"\nsection = "data"\nclauses = ["none"]\n', "unknown clause"),
        (f'{ENTRY}section = "data"\n', "malformed"),
        (f'{ENTRY}asks = "x"\nsection = "data"\nextra = 1\n', "malformed"),
        ('date = "2027-03-01"\n', "no edition"),
        (f'{ENTRY}asks = "x"\nsection = "data"\n[[position]]\ntext = "x"\n', "holds positions"),
    ],
)
def test_a_regulation_map_that_cannot_be_used_is_refused(render: Renderer, table: str, words: str) -> None:
    assert words in refused(render, {"regulations.toml": table}).problem


def test_a_glossary_of_the_companys_own_is_printed(render: Renderer) -> None:
    own = '[[entry]]\nterm = "Bound"\nfind = "bound"\nmeaning = "Our word for it."\n'
    assert "<dt>Bound</dt><dd>Our word for it.</dd>" in render({"glossary.toml": own})
    assert "cannot be used" in refused(render, {"glossary.toml": '[[entry]]\nterm = "x"\nfind = "("\n'}).problem


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"company.toml": 'colour = "red"'}, "unknown key"),
        ({"company.toml": "name = 3"}, "is no text"),
        ({"company.toml": 'colour_accent = "red; } * { display: none"'}, "is no colour"),
        ({"company.toml": 'document_id_pattern = "{secret}"'}, "names something that does not exist"),
        ({"company.toml": 'document_id_pattern = "{run.__class__}"'}, "names something that does not exist"),
        ({"company.toml": 'logo = "logo.png"'}, "logo is not there"),
        ({"company.toml": 'logo = "../record.json"'}, "outside its folder"),
        ({"company.toml": 'logo = "/etc/hostname"'}, "outside its folder"),
        ({"company.toml": 'logo = "logo.png"', "logo.png": b"GIF89a"}, "cannot be used"),
        ({"company.toml": 'logo = "l.svg"', "l.svg": SVG.replace(b"<path", b"<script>x</script><path")}, "more than"),
        ({"company.toml": 'logo = "l.svg"', "l.svg": SVG.replace(b"<path", b'<path onload="x"')}, "more than"),
        (
            {"company.toml": 'logo = "l.svg"', "l.svg": SVG.replace(b"<path", b'<image href="file:///x"/><path')},
            "more than",
        ),
        ({"company.css": "@import 'x.css';"}, "reaches outside"),
        ({"company.css": "p { background: url(http://example.org/x.png); }"}, "reaches outside"),
        ({"company.css": "</style><script>x</script>"}, "reaches outside"),
        ({"company.css": b"\xff"}, "cannot be read"),
        ({"part/cover.j2": "x"}, "that nothing uses"),
        ({"regulation.toml": "x = 1"}, "that nothing uses"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(render: Renderer, files: dict[str, str | bytes], words: str) -> None:
    assert words in refused(render, files).problem


def test_a_link_out_of_the_folder_is_refused(render: Renderer, tmp_path: Path) -> None:
    (tmp_path / "company").mkdir()
    (tmp_path / "company" / "logo.png").symlink_to(tmp_path / "record.json")
    assert "outside its folder" in refused(render, {"company.toml": 'logo = "logo.png"'}).problem


def test_an_svg_logo_is_embedded(render: Renderer) -> None:
    page = render({"company.toml": 'logo = "logo.svg"', "logo.svg": SVG})
    assert f'src="data:image/svg+xml;base64,{base64.b64encode(SVG).decode()}" alt="Logo"' in page


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("{{ view.nothing }}", "UndefinedError"),
        ("{{ nothing }}", "UndefinedError"),
        ("{% if %}", "TemplateSyntaxError"),
        ('{% include "/etc/hostname" %}', "TemplateNotFound"),
        ('{% include "../record.json" %}', "TemplateNotFound"),
        ('{% include "parts/../../record.json" %}', "TemplateNotFound"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
        ("{{ view.sections.clear() }}", "SecurityError"),
        ("{{ view.company.__class__ }}", "SecurityError"),
    ],
)
def test_a_template_that_does_what_none_may_is_refused(
    render: Renderer, tmp_path: Path, source: str, found: str
) -> None:
    error = refused(render, {"parts/residual.j2": f"<p>\n{source}</p>"})
    assert found in str(error.found)
    assert str(tmp_path / "company" / "parts" / "residual.j2") in str(error.where)
    assert "line 2" in str(error.where)


def test_text_of_the_record_is_no_template(make_run: RunMaker, tmp_path: Path) -> None:
    page = report.render_html(make_run(reason="{{ 7 * 7 }} {% raw %}"), tmp_path)
    assert "{{ 7 * 7 }} {% raw %}" in page


def test_the_folder_can_be_named_by_the_environment(
    make_run: RunMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "company").mkdir()
    (tmp_path / "company" / "company.toml").write_text('header = "QMS form 17"', encoding="utf-8")
    record = make_run()
    monkeypatch.setenv("MEDGAN_QA_TEMPLATES", str(tmp_path / "company"))
    assert "QMS form 17" in report.render_html(record, tmp_path)
    monkeypatch.setenv("MEDGAN_QA_TEMPLATES", str(tmp_path / "gone"))
    with pytest.raises(ConfigurationError, match="template folder is not there"):
        report.render_html(record, tmp_path)
    monkeypatch.setenv("MEDGAN_QA_TEMPLATES", "")
    assert "QMS form 17" not in report.render_html(record, tmp_path)


def test_the_report_names_the_templates_that_made_it(render: Renderer, tmp_path: Path) -> None:
    page = render({"company.toml": 'name = "Example"', "notes.txt": "not read"})
    digest = Templates(tmp_path / "company").digest()
    bare = re.sub(r"</?span>| ", "", page.partition('id="configuration"')[2])
    assert digest in bare
    assert "company (Example), 2 files" in page
    assert page.partition('id="files"')[2].count("company.toml") == 1
    (tmp_path / "company" / "notes.txt").write_text("changed", encoding="utf-8")
    assert Templates(tmp_path / "company").digest() != digest
