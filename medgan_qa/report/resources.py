"""Where templates, style and tables come from: the package, or a company's own folder laid over it.

A company's folder may hold any of the files of `report_templates` under the same name, and `company.toml`,
`company.css` and a logo. What it does not hold is taken from the package. Every file that a template names is read from
one of the two and from nowhere else.
"""

from __future__ import annotations

import os
import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from medgan_qa.digests import digest, file_sha256
from medgan_qa.errors import ConfigurationError

VARIABLE = "MEDGAN_QA_TEMPLATES"
SHIPPED = "shipped/"
"""Before the name of a template, for the package's own version of it."""
_TEMPLATE = re.compile(r"parts/[A-Za-z0-9_-]+\.j2|report\.html\.j2")
_TABLES = ("company.toml", "company.css", "clauses.toml", "regulations.toml", "positions.toml", "glossary.toml")
_CHECKED = (".j2", ".toml", ".css", ".html")


class Templates:
    """The report's templates, with a company's folder over them or without one.

    Args:
        folder: the company's folder; None takes it from the environment variable `MEDGAN_QA_TEMPLATES`, if that is set.

    Raises:
        ConfigurationError: the folder is not there, or holds a template, table or style that nothing would use.
    """

    def __init__(self, folder: Path | None = None) -> None:
        named = os.environ.get(VARIABLE, "")
        given = folder or (Path(named) if named else None)
        self.folder = None if given is None else _folder(given)

    def digests(self) -> dict[str, str]:
        """SHA-256 of every file of the company's folder, by path; empty without one."""
        if self.folder is None:
            return {}
        return {path.relative_to(self.folder).as_posix(): file_sha256(path) for path in _files(self.folder)}

    def digest(self) -> str:
        """One SHA-256 over the company's folder: names and contents of its files. Empty without a folder."""
        return digest(self.digests()) if self.folder is not None else ""

    def template(self, name: str) -> str | None:
        """The source of a template; None where there is none of that name."""
        own = name.removeprefix(SHIPPED)
        if not _TEMPLATE.fullmatch(own):
            return None
        return _shipped(own) if own != name else self.text(own)

    def text(self, name: str) -> str | None:
        """A text file: the company's, else the package's, else None.

        Raises:
            ConfigurationError: the company's cannot be read as UTF-8.
        """
        path = self.own(name)
        if path is None:
            return _shipped(name)
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"The template file {name} cannot be read",
                expected="a text in UTF-8",
                found=str(error),
                where=path,
                todo="save the file as UTF-8",
            ) from error

    def table(self, name: str) -> dict[str, Any]:
        """A TOML file: the company's, else the package's, else an empty table.

        Raises:
            ConfigurationError: it is no TOML.
        """
        text = self.text(name)
        try:
            return tomllib.loads(text or "")
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(
                f"{name} is no TOML", expected="TOML", found=str(error), where=self.where(name), todo="correct the line"
            ) from error

    def shipped_table(self, name: str) -> dict[str, Any]:
        """A TOML file of the package, whatever the company's folder holds."""
        return tomllib.loads(_shipped(name) or "")

    def own(self, name: str) -> Path | None:
        """A file of the company's folder; None where it has none of that name.

        Raises:
            ConfigurationError: the name leads out of the folder.
        """
        if self.folder is None:
            return None
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder):
            raise ConfigurationError(
                "A template file lies outside its folder",
                expected="a path within the template folder",
                found=str(name),
                where=self.folder,
                todo="copy the file into the folder and name it by its path there",
            )
        return path if path.is_file() else None

    def where(self, name: str) -> str:
        """Where a file is taken from, for messages."""
        path = self.own(name)
        return str(path) if path is not None else f"report_templates/{name}"


def _shipped(name: str) -> str | None:
    path = files("report_templates").joinpath(*name.split("/"))
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _folder(given: Path) -> Path:
    folder = given.resolve()
    if not folder.is_dir():
        raise ConfigurationError(
            "The template folder is not there",
            expected=f"a folder, as named by --templates or {VARIABLE}",
            found=str(given),
            where=given,
            todo="correct the path, or leave it out to use the templates of the package",
        )
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if path.suffix in _CHECKED and name not in _TABLES and not _TEMPLATE.fullmatch(name):
            raise ConfigurationError(
                "The template folder holds a file that nothing uses",
                expected=f"report.html.j2, parts/NAME.j2, {', '.join(_TABLES)}, a logo",
                found=name,
                where=folder,
                todo="correct the name, or move the file elsewhere",
            )
    return folder


def _files(folder: Path) -> list[Path]:
    """Every file in the folder, hidden ones left out, in the order of their paths."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    seen = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    for path in seen:
        if not path.resolve().is_relative_to(folder):
            raise ConfigurationError(
                "A template file lies outside its folder",
                expected="files, and links to files within the template folder",
                found=f"{path.name}, which leads to {path.resolve()}",
                where=folder,
                todo="copy the file into the folder",
            )
    return sorted(seen)
