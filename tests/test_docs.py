"""What is written about the code is true of it: generated pages, the README, the help of every command."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from medgan_qa.audits import AUDITS, HEADINGS, Audit, Findings
from medgan_qa.cli import COMMANDS, cli

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def make_docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "tools" / "make_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_made_from_the_code_are_current(make_docs: ModuleType) -> None:
    assert make_docs.stale() == [], "run: python tools/make_docs.py"


def test_a_page_that_differs_is_found(make_docs: ModuleType, tmp_path: Path) -> None:
    assert set(make_docs.stale(tmp_path)) == set(make_docs.pages())
    make_docs.write(tmp_path)
    assert make_docs.stale(tmp_path) == []
    first = tmp_path / "audits" / f"{next(iter(AUDITS))}.md"
    first.write_text(first.read_text(encoding="utf-8") + "edited by hand\n", encoding="utf-8")
    (tmp_path / "audits" / "OLD-001.md").write_text("", encoding="utf-8")
    (tmp_path / "audits" / "README.md").write_text("not made from the code", encoding="utf-8")
    assert make_docs.stale(tmp_path) == [f"audits/{first.name}", "audits/OLD-001.md"]
    make_docs.write(tmp_path)
    assert make_docs.stale(tmp_path) == []
    assert (tmp_path / "audits" / "README.md").is_file()


@pytest.mark.parametrize("code", AUDITS)
def test_a_page_says_what_the_docstring_says(make_docs: ModuleType, code: str) -> None:
    page = make_docs.audit_text(AUDITS[code])
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == [*(h.rstrip(".") for h in HEADINGS), "Parameters"]
    assert all(f"| `{name}` |" in page for name in AUDITS[code].parameters)
    assert AUDITS[code].question in " ".join(page.split())
    words = page.replace("## ", "").split()
    assert all(word.rstrip(".") in words or word in words for word in AUDITS[code].document.split())


def test_a_docstring_without_its_headings_is_refused(make_docs: ModuleType) -> None:
    def audit() -> Findings:
        """A summary.

        Question. Is it so?

        Why it matters. It does.
        """
        return Findings()

    with pytest.raises(ValueError, match="XXX-001: expected the headings"):
        make_docs.audit_text(Audit("XXX-001", "x", audit))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"medgan-qa {name}" in README


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: cli {name}")
    [summary] = [line for line in result.output.splitlines()[1:] if line.strip()][:1]
    assert len(summary.split()) > 2


def test_the_group_lists_every_command_with_its_line() -> None:
    output = " ".join(CliRunner().invoke(cli, ["--help"]).output.split())
    assert all(f"{name} {' '.join(text.split())}" in output for name, text in COMMANDS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_does(name: str) -> None:
    command = cli.get_command(None, name)  # type: ignore[arg-type]  # the group needs no context to find a command
    assert command is not None
    options = [p for p in command.params if p.param_type_name == "option"]
    assert all(getattr(option, "help", None) for option in options)
