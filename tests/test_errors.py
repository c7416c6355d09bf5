"""The exception tree: exit codes, and what a message says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from medgan_qa import errors
from medgan_qa.errors import IntegrityError, MedganQAError, ModelError

CLASSES = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, MedganQAError)]
DRAWN = dict(re.findall(r"[├└]── (\w+) +exit (\d)", str(errors.__doc__)))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("MedganQAError", 5),
        ("ConfigurationError", 2),
        ("InputError", 2),
        ("DatasetError", 2),
        ("ModelError", 2),
        ("RecordError", 2),
        ("ModelCrashError", 3),
        ("OutputError", 2),
        ("MissingDependencyError", 2),
        ("IntegrityError", 4),
    ],
)
def test_each_class_ends_in_its_exit_code(name: str, code: int) -> None:
    assert getattr(errors, name)("x").exit_code == code


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert {c.__name__: str(c.exit_code) for c in CLASSES if c.__bases__ == (MedganQAError,)} == DRAWN
    text = str(errors.__doc__)
    assert all(re.search(rf"\b{c.__name__}\b", text) for c in CLASSES)
    inputs = [c.__name__ for c in CLASSES if c.__bases__ == (errors.InputError,)]
    assert re.findall(r"│   [├└]── (\w+)", text) == inputs


def test_a_message_says_everything_that_is_known() -> None:
    error = ModelError(
        "The model file is empty.", expected="a model", found="0 bytes", where=Path("/a/b.pt"), todo="Copy it again."
    )
    assert str(error).splitlines() == [
        "The model file is empty.",
        "  expected: a model",
        "  found: 0 bytes",
        "  where: /a/b.pt",
        "  what to do: Copy it again.",
    ]
    assert (error.problem, error.where) == ("The model file is empty.", "/a/b.pt")


def test_a_message_leaves_out_what_is_not_known() -> None:
    assert str(IntegrityError("A file changed.", found="")) == "A file changed.\n  found: "
    assert str(IntegrityError("A file changed.")) == "A file changed."


def test_one_handler_catches_them_all() -> None:
    for kind in CLASSES:
        with pytest.raises(MedganQAError):
            raise kind("x")
