"""Reading a Record that was written by this version or another one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medgan_qa import __version__
from medgan_qa.errors import RecordError
from medgan_qa.record import SCHEMA, Record

_VERSIONED = re.compile(r"medgan-qa/record/(\d{1,9})", re.ASCII)
_KNOWN = int(SCHEMA.rpartition("/")[2])


def load_record(text: str | bytes, where: str | Path) -> Record:
    """The Record that a text holds.

    Args:
        text: the content of a `record.json`.
        where: the file, for messages.

    Raises:
        RecordError: it is damaged, says one thing twice, is of a schema that this version does not read, or holds
            fields that it does not know.
    """
    content = _json(text, where)
    _require_schema(content, where)
    try:
        return Record.from_json(text if isinstance(text, str) else text.decode())
    except ValidationError as error:
        raise _invalid(error, content, where) from error


def _json(text: str | bytes, where: str | Path) -> dict[str, Any]:
    try:
        decoded = text if isinstance(text, str) else text.decode()
        content = json.loads(decoded, object_pairs_hook=_once, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise _damaged(f"no UTF-8: {error}", where) from error
    except _Twice as error:
        raise _damaged(f"the key {str(error)!r} stands twice in one object", where) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(f"Invalid JSON: {error}", where) from error
    if not isinstance(content, dict):
        raise _damaged(f"Input should be an object, and is {_kind(content)}", where)
    return content


class _Twice(Exception):
    """A key that stands twice: readers differ in which of the two they believe."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return content


def _no_number(name: str) -> None:
    raise ValueError(f"{name} has no place in a Record")


def _kind(value: Any) -> str:
    kinds = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _damaged(found: str, where: str | Path) -> RecordError:
    return RecordError(
        "The folder holds no Record that can be read.",
        expected=f"record.json of schema {SCHEMA}",
        found=found,
        where=where,
        todo="Name the folder that `medgan-qa audit --out` wrote, or restore the file from where it was kept.",
    )


def _require_schema(content: dict[str, Any], where: str | Path) -> None:
    schema = content.get("schema")
    if schema == SCHEMA:
        return
    version = _VERSIONED.fullmatch(schema) if isinstance(schema, str) else None
    if version is None:
        raise _damaged(f"schema: {json.dumps(schema, ensure_ascii=False)[:80]}", where)
    if int(version[1]) > _KNOWN:
        raise RecordError(
            "The Record is of a newer schema than this version reads.",
            expected=f"schema {SCHEMA}",
            found=f"schema {version[0]}{_writer(content)}",
            where=where,
            todo=f"Install {_newer(content)}; it reads this Record and those of schema {_KNOWN}.",
        )
    raise RecordError(
        "The Record is of a schema that no published version wrote.",
        expected=f"schema {SCHEMA}, which every version since 0.1.0 writes",
        found=f"schema {version[0]}{_writer(content)}",
        where=where,
        todo="Run the audit again with medgan-qa 0.1.0 or newer; a Record is not converted, so that what was found "
        "stays as it was written.",
    )


def _invalid(error: ValidationError, content: dict[str, Any], where: str | Path) -> RecordError:
    problems = error.errors(include_url=False, include_input=False)
    unknown = [_place(problem["loc"]) for problem in problems if problem["type"] == "extra_forbidden"]
    # A Record of a newer version differs by fields that were added; anything else is damage.
    if unknown and len(unknown) == len(problems):
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        return RecordError(
            "The Record holds fields that this version does not know; it was probably written by a newer version.",
            expected=f"the fields of schema {SCHEMA} as of medgan-qa {__version__}",
            found=f"{unknown[0]}{more}{_writer(content)}",
            where=where,
            todo=f"Install {_newer(content)}.",
        )
    place = _place(problems[0]["loc"])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return _damaged(f"{place + ': ' if place else ''}{problems[0]['msg']}{more}", where)


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)


def _version(content: dict[str, Any]) -> str:
    tool = content.get("tool")
    version = tool.get("version") if isinstance(tool, dict) else None
    return version if isinstance(version, str) and re.fullmatch(r"[\w.+!-]{1,40}", version) else ""


def _writer(content: dict[str, Any]) -> str:
    version = _version(content)
    return f", written by medgan-qa {version}" if version else ""


def _newer(content: dict[str, Any]) -> str:
    version = _version(content)
    named = version if version and version != __version__ else ""
    return f"medgan-qa {named} or newer" if named else f"a version of medgan-qa after {__version__}"
