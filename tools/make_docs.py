"""Write the pages of docs/ that are made from the code: the JSON Schemas of all formats and one page an audit.

python tools/make_docs.py           write them
python tools/make_docs.py --check   exit with 1 and say which are not current
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from pathlib import Path

from medgan_qa.audits import AUDITS, HEADINGS, Audit
from medgan_qa.evidence.formats import FORMATS, schema

DOCS = Path(__file__).resolve().parent.parent / "docs"
NOTICE = "<!-- Made from the docstring of the audit by tools/make_docs.py; change it there. -->"
PAGE = re.compile(r"[A-Z]{3}-\d{3}\.md")


def schema_text(name: str = "record") -> str:
    """The JSON Schema of a format."""
    return json.dumps(schema(name), indent=4, ensure_ascii=False) + "\n"


def schema_page(name: str) -> str:
    """Where the schema of a format stands; that of a Record keeps the place that it was published at first."""
    return "record.schema.json" if name == "record" else f"schemas/{name}.schema.json"


def audit_text(audit: Audit) -> str:
    """The page of an audit: its docstring with the headings as sections, and its parameters.

    Raises:
        ValueError: the docstring does not hold the headings of every audit in their order.
    """
    summary, *paragraphs = audit.document.split("\n\n")
    sections: list[tuple[str, list[str]]] = []
    for paragraph in paragraphs:
        heading = next((h for h in HEADINGS if paragraph.startswith(h)), None)
        if heading is not None:
            sections.append((heading.rstrip("."), [paragraph.removeprefix(heading)]))
        elif sections:
            sections[-1][1].append(paragraph)
    if [f"{name}." for name, _ in sections] != list(HEADINGS):
        raise ValueError(f"{audit.code}: expected the headings {HEADINGS}, found {[name for name, _ in sections]}")
    parts = [f"# {audit.code} {audit.title}", NOTICE, summary]
    for name, texts in sections:
        parts += [f"## {name}", *(_filled(text) for text in texts)]
    return "\n\n".join([*parts, "## Parameters", _parameters(audit)]) + "\n"


def _filled(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False)


def _parameters(audit: Audit) -> str:
    if not audit.parameters:
        return "None."
    intro = f"Set under `[parameters.{audit.code}]` in a criteria file."
    rows = [f"| `{name}` | `{json.dumps(value)}` |" for name, value in audit.parameters.items()]
    return "\n".join([intro, "", "| parameter | default |", "| --- | --- |", *rows])


def pages() -> dict[str, str]:
    """Every page that is made, by path below docs/."""
    audits = {f"audits/{code}.md": audit_text(audit) for code, audit in AUDITS.items()}
    return {**{schema_page(name): schema_text(name) for name in FORMATS}, **audits}


def stale(docs: Path = DOCS) -> list[str]:
    """What is missing, different, or about an audit or format that there is no more."""
    made = pages()
    written = {name: docs / name for name in made if (docs / name).is_file()}
    wrong = [name for name, text in made.items() if name not in written or written[name].read_text("utf-8") != text]
    return wrong + [path.relative_to(docs).as_posix() for path in _orphans(docs)]


def write(docs: Path = DOCS) -> None:
    """Write every page, and remove those of audits and formats that there are no more."""
    for name, text in pages().items():
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        (docs / name).write_text(text, encoding="utf-8")
    for path in _orphans(docs):
        path.unlink()


def _orphans(docs: Path) -> list[Path]:
    audits = [path for path in docs.glob("audits/*.md") if PAGE.fullmatch(path.name) and path.stem not in AUDITS]
    schemas = [path for path in docs.glob("schemas/*.schema.json") if path.name.split(".")[0] not in FORMATS]
    return sorted([*audits, *schemas])


def main() -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is not current")
    if not parser.parse_args().check:
        write()
        return 0
    wrong = stale()
    for name in wrong:
        print(f"docs/{name} is not current; run python tools/make_docs.py", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
