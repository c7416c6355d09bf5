"""Parameters of audits, as the suite has them and a criteria file replaces them."""

from __future__ import annotations

from typing import Any

from medgan_qa.audits import AUDITS, Audit
from medgan_qa.criteria import Criteria
from medgan_qa.errors import ConfigurationError


def parameters(audit: Audit, criteria: Criteria) -> dict[str, Any]:
    """The parameters that an audit runs with.

    Raises:
        ConfigurationError: the criteria file names an audit or a parameter that there is not, or gives one a value that
            it cannot have.
    """
    defaults = audit.parameters
    given = {k: v for k, v in criteria.matching.items() if k in defaults} | criteria.parameters.get(audit.code, {})
    unknown_codes = [code for code in criteria.parameters if code not in AUDITS]
    for kind, unknown, expected in (
        ("audit", unknown_codes, AUDITS),
        (f"parameter of {audit.code}", [k for k in given if k not in defaults], defaults),
    ):
        if unknown:
            raise ConfigurationError(
                f"Unknown {kind} {unknown[0]!r} in [parameters].",
                expected=f"one of {', '.join(expected)}",
                found=unknown[0],
                where=criteria.file,
                todo=f"`medgan-qa explain {audit.code}` lists the parameters.",
            )
    for name, value in given.items():
        _require_kind(audit.code, name, value, defaults[name], criteria.file)
    return {**defaults, **given}


def _require_kind(code: str, name: str, value: Any, default: Any, where: str) -> None:
    """A parameter must be of its default's kind (a whole number passes for a fraction) and not negative."""
    kinds = (int, float) if isinstance(default, float) else (type(default),)
    if isinstance(value, kinds) and not isinstance(value, bool) and not (isinstance(value, int | float) and value < 0):
        return
    raise ConfigurationError(
        f"The parameter {name} of {code} cannot be used.",
        expected=f"a value such as {default!r}, not negative",
        found=repr(value),
        where=where,
        todo=f"`medgan-qa explain {code}` lists the parameters.",
    )
