"""A company's own settings of the report: `company.toml`, `company.css` and a logo in its template folder."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from medgan_qa.errors import ConfigurationError
from medgan_qa.report.facts import Fact
from medgan_qa.report.resources import Templates

_TEXTS = ("name", "header", "footer", "classification", "revision", "document_id_pattern")
_KEYS = (*_TEXTS, "logo", "colour_accent")
_LOGOS = {".png": ("image/png", b"\x89PNG\r\n\x1a\n"), ".svg": ("image/svg+xml", b"<")}
_MOST_LOGO_BYTES = 1_000_000
_ACCENT = "#1f3f66"
_PLACE = re.compile(r"\{([^{}]*)\}")
_OUTSIDE = re.compile(r"</style|@import|url\(\s*[\"']?\s*(?!data:|#)|src\s*:\s*local", re.IGNORECASE)
_ACTIVE = re.compile(rb"<script|<!entity|<foreignobject|\bon\w+\s*=|href\s*=\s*[\"'](?!#|data:image/)", re.IGNORECASE)


class Company(NamedTuple):
    """How a company wants its reports to look."""

    name: str
    header: str
    footer: str
    classification: str
    revision: str
    document_id_pattern: str
    logo: str
    """The picture as a data address; empty without one."""
    style: str
    """CSS that stands after the report's own."""
    facts: list[Fact]
    """What of all this the report says of itself; empty without a folder."""


def company(templates: Templates) -> Company:
    """Read a company's settings.

    Raises:
        ConfigurationError: an unknown key, a value of the wrong kind, or a logo or style that is not self-contained.
    """
    table = _checked(templates)
    texts = {key: str(table.get(key, "")) for key in _TEXTS}
    accent = _accent(table, templates)
    style = f":root {{ --accent: {accent}; }}\n{_style(templates)}"
    logo = _logo(str(table["logo"]), templates) if table.get("logo") else ""
    return Company(**texts, logo=logo, style=style, facts=_facts(texts["name"], templates))


def document_id(pattern: str, names: Mapping[str, str], templates: Templates) -> str:
    """The document's id from a pattern such as `VR-{protocol}-{run}`.

    Args:
        pattern: text with names in braces.
        names: what each name stands for.
        templates: where the pattern comes from, for messages.

    Raises:
        ConfigurationError: a name in braces that does not exist.
    """
    unknown = [name for name in _PLACE.findall(pattern) if name not in names]
    if unknown:
        raise _wrong(
            "document_id_pattern names something that does not exist",
            ", ".join(f"{{{name}}}" for name in names),
            ", ".join(f"{{{name}}}" for name in unknown),
            templates,
        )
    return _PLACE.sub(lambda found: names[found[1]], pattern)


def _checked(templates: Templates) -> dict[str, Any]:
    table = templates.table("company.toml")
    unknown = [key for key in table if key not in _KEYS]
    if unknown:
        raise _wrong("company.toml holds an unknown key", ", ".join(_KEYS), ", ".join(unknown), templates)
    other = [key for key, value in table.items() if not isinstance(value, str)]
    if other:
        raise _wrong("A value of company.toml is no text", "a text in quotes", ", ".join(other), templates)
    return table


def _accent(table: Mapping[str, Any], templates: Templates) -> str:
    accent = str(table.get("colour_accent", _ACCENT))
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", accent):
        raise _wrong("colour_accent is no colour", "a colour such as #1f3f66", accent, templates)
    return accent


def _style(templates: Templates) -> str:
    if templates.own("company.css") is None:
        return ""
    style = templates.text("company.css") or ""
    outside = _OUTSIDE.search(style)
    if outside:
        raise ConfigurationError(
            "company.css reaches outside the report",
            expected="rules that need nothing but the page: no @import, no url() but data addresses, no end of style",
            found=outside[0],
            where=templates.where("company.css"),
            todo="put pictures and fonts into the rule as data addresses",
        )
    return style


def _logo(name: str, templates: Templates) -> str:
    path = templates.own(name)
    kind, head = _LOGOS.get(f".{name.rpartition('.')[2].lower()}", ("", b""))
    if path is None or not kind:
        raise _wrong("The logo is not there", "a PNG or SVG file in the template folder", name, templates)
    content = path.read_bytes()
    if not content.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(head) or len(content) > _MOST_LOGO_BYTES:
        raise _wrong("The logo cannot be used", f"a {kind} of at most 1 MB", f"{name}, {len(content)} bytes", templates)
    active = _ACTIVE.search(content) if kind == "image/svg+xml" else None
    if active:
        found = active[0].decode("ascii", "replace")
        raise _wrong("The logo is more than a picture", "an SVG without scripts, links or entities", found, templates)
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _facts(name: str, templates: Templates) -> list[Fact]:
    if templates.folder is None:
        return []
    count = len(templates.digests())
    return [
        Fact("Templates", f"{templates.folder.name}{f' ({name})' if name else ''}, {count} files"),
        Fact("Digest of the templates", templates.digest(), "digest"),
    ]


def _wrong(problem: str, expected: str, found: str, templates: Templates) -> ConfigurationError:
    return ConfigurationError(
        problem, expected=expected, found=found, where=templates.where("company.toml"), todo="correct company.toml"
    )
