"""Reading criteria files: what they may say, and what is refused."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.criteria import (
    Criteria,
    DeclaredHazard,
    DeclaredSentinel,
    Strata,
    changes,
    parse_criteria,
    read_criteria,
)
from medgan_qa.digests import canonical_json
from medgan_qa.errors import ConfigurationError

ENTRY = {"id": "AC-01", "measurement": "PAT-001.removal_rate", "limit": {"max": 0.05}, "judged_on": "upper"}
CONTENT = {"schema": "medgan-qa/criteria/1", "criterion": [ENTRY]}
TEXT = """
schema = "medgan-qa/criteria/1"
protocol = {id = "VP-012", revision = "B", title = "T1 to FLAIR, brain"}
alpha = 0.05
multiplicity = "holm"

[[criterion]]
id = "AC-01"
measurement = "PAT-001.removal_rate"
limit = {max = 0.05}
judged_on = "upper"
rationale = "a removed lesion is a missed diagnosis"
hazard = "HZ-03"
requirement = "SRS-041"

[parameters.PAT-001]
min_overlap = 0.3
"""


def changed(**changes: Any) -> dict[str, Any]:
    return {**CONTENT, **changes}


def with_entry(**changes: Any) -> dict[str, Any]:
    entry = {k: v for k, v in {**ENTRY, **changes}.items() if v is not None}
    return changed(criterion=[entry])


def test_reads_the_file_of_the_design(tmp_path: Path) -> None:
    path = tmp_path / "criteria.toml"
    path.write_text(TEXT, encoding="utf-8")
    read = read_criteria(path)
    assert read.protocol == {"id": "VP-012", "revision": "B", "title": "T1 to FLAIR, brain"}
    assert (read.alpha, read.multiplicity, read.default, read.file) == (0.05, "holm", False, str(path))
    assert read.parameters == {"PAT-001": {"min_overlap": 0.3}}
    [only] = read.declared
    assert (only.limit, only.judged_on, only.hazard) == ({"max": 0.05}, "upper", "HZ-03")


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        path = tmp_path / "c.toml"
        path.write_text(text, encoding="utf-8")
        return read_criteria(path).digest()

    assert digest(TEXT) == digest("# a comment\n" + TEXT.replace("limit = {max = 0.05}", "limit = { max = 5e-2 }"))
    others = ["0.05", "0.3", '"upper"', "HZ-03", "VP-012", "holm"]
    new = ["0.04", "0.4", '"both"', "HZ-04", "VP-013", "none"]
    assert len({digest(TEXT), *(digest(TEXT.replace(a, b)) for a, b in zip(others, new, strict=True))}) == 7


def test_what_is_left_out_has_the_stated_default() -> None:
    read = parse_criteria(CONTENT, "here", default=True)
    assert (read.alpha, read.multiplicity, read.protocol, read.default) == (0.05, "none", {}, True)


@pytest.mark.parametrize("judged_on", ["both", "value"])
@pytest.mark.parametrize("limit", [{"max": 1}, {"min": 1}, {"min": 1, "max": 1}])
def test_either_limit_goes_with_both_and_value(judged_on: str, limit: dict[str, float]) -> None:
    [entry] = parse_criteria(with_entry(limit=limit, judged_on=judged_on), "here").declared
    assert entry.limit == limit
    assert all(isinstance(v, float) for v in entry.limit.values())


def put(text: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(text)


@pytest.mark.parametrize(
    ("prepare", "found"),
    [
        (lambda path: None, "No such file"),
        (Path.mkdir, "directory"),
        (put(b"schema = "), "Invalid value"),
        (put(b"schema = '\xff'"), "utf-8"),
    ],
    ids=["missing", "folder", "no TOML", "no text"],
)
def test_refuses_a_file_that_cannot_be_read(tmp_path: Path, prepare: Callable[[Path], Any], found: str) -> None:
    path = tmp_path / "criteria.toml"
    prepare(path)
    with pytest.raises(ConfigurationError) as caught:
        read_criteria(path)
    assert found in str(caught.value.found)
    assert caught.value.where == str(path)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (changed(schema="medgan-qa/criteria/2"), "no criteria file"),
        ({"criterion": [ENTRY]}, "no criteria file"),
        (changed(multiplicty="holm"), "did you mean 'multiplicity'?"),
        (changed(protocol={"titel": "x"}), "did you mean 'title'?"),
        (changed(protocol="VP-012"), "A table was expected"),
        (with_entry(judgedon="upper"), "did you mean 'judged_on'?"),
        (with_entry(limit={"maximum": 0.1}), "Unknown key 'maximum'"),
        (changed(xyzzy=1), "Unknown key 'xyzzy'."),
        *((changed(alpha=alpha), "alpha is no usable") for alpha in (0.0, 0.5, 1, "0.05", float("nan"), True)),
        (changed(multiplicity="bonferroni"), "multiplicity is unknown"),
        (changed(multiplicity=["holm"]), "multiplicity is unknown"),
        *((changed(criterion=wrong), "declares no criterion") for wrong in (None, [], {}, 5, "x")),
        (changed(criterion=["x"]), "A table was expected"),
        (changed(criterion=[ENTRY, ENTRY]), "Two criteria have one id"),
        *((with_entry(**{key: None}), f"lacks '{key}'") for key in ("id", "measurement", "limit", "judged_on")),
        (with_entry(id=""), "lacks 'id'"),
        (with_entry(judged_on="lower"), "does not fit the bound"),
        (with_entry(limit={"min": 0.1}), "does not fit the bound"),
        (with_entry(limit={"min": 0.1, "max": 0.2}), "does not fit the bound"),
        (with_entry(judged_on="above"), "judged_on is unknown"),
        (with_entry(judged_on=["upper"]), "judged_on is unknown"),
        *(
            (with_entry(limit={"max": value}), "The limit is no number")
            for value in ("0.05", float("nan"), float("inf"), True, [0.1], 1e12)
        ),
        (with_entry(limit={}), "The limit is no number"),
        (with_entry(limit=0.05), "A table was expected"),
        (with_entry(limit={"min": 2, "max": 1}, judged_on="both"), "No number can meet"),
        (changed(parameters=3), "parameters are no tables"),
        (changed(parameters={"PAT-001": 3}), "parameters are no tables"),
        (changed(parameters={"PAT-001": {"min_overlap": float("nan")}}), "cannot be recorded"),
        (changed(parameters={"PAT-001": {"since": object()}}), "cannot be recorded"),
    ],
)
def test_refuses_what_cannot_be_judged(content: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_criteria(content, "plan.toml")
    assert problem in caught.value.problem
    assert "plan.toml" in str(caught.value.where)
    assert caught.value.expected
    assert caught.value.found is not None
    assert caught.value.todo


def test_an_error_names_the_criterion_it_is_about() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_criteria(with_entry(judged_on="lower"), "plan.toml")
    assert caught.value.where == "plan.toml, criterion AC-01"
    assert "{'max': 0.05} judged on 'lower'" in str(caught.value)


# The grown file: protocol, context, data, hazards, sentinels, attempts

GROWN = """
schema = "medgan-qa/criteria/1"
multiplicity = "holm"
[protocol]
id = "VP-012"
revision = "B"
title = "T1 nach FLAIR, Kopf"
rationale = "docs/VP-012.md"
approved_by = ["Dr. Åse Müller", "李雷"]
[context]
suite = "translation"
intended_use = "Fills in a missing FLAIR"
output_role = "pipeline_input"
anatomy = "brain"
user = "segmentation pipeline"
claims = ["Lesions of 5 mm are kept"]
out_of_scope = ["direct diagnosis"]
[data]
min = {patients = 60, lesions = 120, sites = 3}
allowed_processing = ["resample 1 mm"]
[data.independence]
by = ["patient", "site"]
train_manifest = "listen/training.csv"
statement = "Nobody of the test set was in training."
[data.sequestration]
since = 2026-03-01
custodian = "Data office"
[reference_standard]
labels = "masks_v4"
annotators = 3
[matching]
matching = "dilated_hit"
dilate_mm = 3.0
[statistics]
alpha = 0.025
bound = "two-sided"
cluster = "patient"
seed = 20260301
[[hazard]]
id = "HZ-90"
name = "Wrong series"
situation = "..."
control = "..."
[[criterion]]
id = "AC-01"
measurement = "PAT-001.removal_rate"
limit = {max = 0.1}
judged_on = "upper"
rationale = "..."
hazard = "HZ-90"
claim = "Lesions are not removed"
severity = "gate"
strata = {gate = ["diameter"], report = ["site"]}
margin = 0.03
[[criterion]]
id = "AC-02"
measurement = "FID-010.ssim_body"
limit = {min = 0.5}
judged_on = "lower"
severity = "report"
[[sentinel]]
case = "case-0017"
audit = "PAT-001"
rationale = "6 mm at the skull base"
[attempts]
max = 3
feedback = "pass_fail"
[modification]
id = "MOD-2"
description = "more data"
protocol = "MP-2"
"""


def read(tmp_path: Path, text: str = GROWN) -> Criteria:
    path = tmp_path / "prüfplan.toml"
    path.write_text(text, encoding="utf-8")
    return read_criteria(path)


def test_reads_the_grown_file(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert found.protocol["approved_by"] == ["Dr. Åse Müller", "李雷"]
    assert (found.alpha, found.multiplicity, found.bound, found.seed) == (0.025, "holm", "two-sided", 20260301)
    assert found.minimum == {"patients": 60, "lesions": 120, "sites": 3}
    assert found.independence_by == ("patient", "site")
    assert found.train_manifest == tmp_path / "listen/training.csv"
    assert found.data["sequestration"]["since"] == "2026-03-01"
    assert (found.suite, found.attempts_max, found.feedback) == ("translation", 3, "pass_fail")
    assert found.matching == {"matching": "dilated_hit", "dilate_mm": 3.0}
    assert found.sentinels == (DeclaredSentinel("case-0017", "PAT-001", "6 mm at the skull base"),)
    assert found.hazards == (DeclaredHazard("HZ-90", "Wrong series", "...", "..."),)
    assert found.modification["id"] == "MOD-2"
    first, second = found.declared
    assert (first.severity, first.claim, first.margin) == ("gate", "Lesions are not removed", 0.03)
    assert first.strata == Strata(("diameter",), ("site",))
    assert (second.severity, second.margin, second.strata) == ("report", None, Strata())
    assert found.text == GROWN


def test_what_an_old_file_does_not_say_changes_nothing() -> None:
    found = parse_criteria(CONTENT, "here")
    assert (found.bound, found.seed, found.suite, found.attempts_max) == ("one-sided", None, None, None)
    assert (found.feedback, found.minimum, found.independence_by, found.train_manifest) == ("full", {}, (), None)
    assert (found.context_facts(), found.text) == ({}, "")
    [only] = found.declared
    assert (only.severity, only.claim, only.margin, only.strata) == ("gate", "", None, Strata())
    assert only.optional is False


def test_what_the_record_says_is_what_was_declared(tmp_path: Path) -> None:
    facts = read(tmp_path).context_facts()
    names = ["context", "data", "reference_standard", "statistics", "matching", "attempts", "modification"]
    assert list(facts) == names
    assert facts["statistics"] == {"bound": "two-sided", "cluster": "patient", "seed": 20260301}
    assert json.loads(json.dumps(facts)) == facts


def test_the_digest_is_the_sha256_of_the_canonical_content(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert hashlib.sha256(canonical_json(found.content())).hexdigest() == found.digest()
    assert parse_criteria(json.loads(canonical_json(found.content())), found.file).content() == found.content()


def test_alpha_may_stand_in_either_place_and_means_the_same() -> None:
    above = parse_criteria(changed(alpha=0.01, multiplicity="holm"), "here")
    below = parse_criteria(changed(statistics={"alpha": 0.01, "multiplicity": "holm"}), "here")
    assert above == below
    assert above.digest() == below.digest()


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_text_is_kept_byte_for_byte(tmp_path: Path, line_end: str) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(GROWN.replace("\n", line_end).encode())
    assert read_criteria(path).text.encode() == path.read_bytes()
    assert read_criteria(path).digest() == read(tmp_path).digest()


SECTION = {
    "context": {"output_rolle": "viewed"},
    "data": {"minimum": {}},
    "reference_standard": {"annotator": 3},
    "statistics": {"sede": 1},
    "attempts": {"maximum": 3},
    "modification": {"idd": "x"},
    "hazard": [{"id": "HZ-90", "nam": "x"}],
    "sentinel": [{"case": "a", "audit": "PAT-001", "why": "x"}],
}


@pytest.mark.parametrize("table", SECTION)
def test_an_unknown_key_is_refused_wherever_it_stands(table: str) -> None:
    with pytest.raises(ConfigurationError, match="Unknown key") as caught:
        parse_criteria(changed(**{table: SECTION[table]}), "plan.toml")
    assert caught.value.where is not None
    assert table in caught.value.where


@pytest.mark.parametrize(
    ("content", "problem", "expected"),
    [
        (changed(data={"min": {"patient": 3}}), "did you mean 'patients'?", "patients"),
        (changed(data={"min": {"patients": 0}}), "patients cannot be used", "at least 1"),
        (changed(data={"min": {"patients": True}}), "patients cannot be used", "at least 1"),
        (changed(data={"min": {"patients": 2.5}}), "patients cannot be used", "whole number"),
        (changed(data={"min": 3}), "min cannot be used", "a table"),
        (changed(data={"independence": {"by": ["scanner"]}}), "by cannot be used", "patient and site"),
        (changed(data={"independence": {"by": []}}), "by cannot be used", "patient and site"),
        (changed(data={"independence": {"by": "patient"}}), "by cannot be used", "a list"),
        (changed(data={"independence": {"by": ["patient", "patient"]}}), "by cannot be used", "at most once"),
        (changed(data={"independence": {"train_manifest": "t.csv"}}), "what shall be compared", "by = "),
        (
            changed(data={"independence": {"by": ["patient"], "train_manifest": "/a/t.csv"}}),
            "train_manifest cannot be used",
            "relative",
        ),
        (changed(data={"sequestration": {"since": "last year"}}), "since cannot be used", "a date"),
        (changed(data={"allowed_processing": "none"}), "allowed_processing cannot be used", "a list"),
        (changed(context={"output_role": "seen"}), "output_role cannot be used", '"viewed"'),
        (changed(context={"output_role": ["viewed"]}), "output_role cannot be used", '"viewed"'),
        (changed(context={"claims": [1]}), "claims cannot be used", "list of texts"),
        (changed(context="brain"), "A table was expected", "intended_use"),
        (changed(reference_standard={"annotators": 0}), "annotators cannot be used", "at least 1"),
        (changed(statistics={"bound": "both"}), "bound cannot be used", "one-sided"),
        (changed(statistics={"cluster": "slice"}), "cluster cannot be used", "patient"),
        (changed(statistics={"seed": -1}), "seed cannot be used", "from 0"),
        (changed(statistics={"seed": 2**63}), "seed cannot be used", "2^63 - 1"),
        (changed(statistics={"seed": 1.0}), "seed cannot be used", "whole number"),
        (changed(statistics={"alpha": 0.5}), "alpha is no usable", "between"),
        (changed(statistics={"multiplicity": "x"}), "multiplicity is unknown", "holm"),
        (changed(alpha=0.05, statistics={"alpha": 0.05}), "alpha is given twice", "top or"),
        (changed(multiplicity="holm", statistics={"multiplicity": "none"}), "multiplicity is given twice", "top or"),
        (changed(statistics=[1]), "A table was expected", "[statistics]"),
        (changed(attempts={"max": 0}), "max cannot be used", "at least 1"),
        (changed(attempts={"feedback": "none"}), "feedback cannot be used", "pass_fail"),
        (changed(matching={"dilate_mm": [3.0]}), "dilate_mm cannot be used", "finite number"),
        (changed(matching={"dilate_mm": float("inf")}), "dilate_mm cannot be used", "finite number"),
        (changed(matching=3), "A table was expected", "parameters"),
        (changed(modification={"description": "x"}), "lacks 'id'", "the plan"),
        (changed(protocol={"approved_by": "me"}), "approved_by cannot be used", "list of texts"),
        (changed(protocol={"title": ["x"]}), "title cannot be used", "a text"),
        (changed(hazard={"id": "HZ-90"}), "no list of hazards", "[[hazard]]"),
        (changed(hazard=[{"name": "x"}]), "A hazard lacks 'id'", "id"),
        (changed(hazard=[{"id": "HZ-90"}]), "A hazard lacks 'name'", "catalogue"),
        (changed(hazard=[{"id": "HZ 90", "name": "x"}]), "cannot be referred to", "no blank"),
        (changed(hazard=[{"id": "HZ-90", "name": "x"}] * 2), "Two hazards have one id", "once"),
        (changed(sentinel=[{"case": "a"}]), "A sentinel lacks 'audit'", "case, audit"),
        (changed(sentinel=[{"case": "", "audit": "PAT-001"}]), "case cannot be used", "not empty"),
        (changed(sentinel=[{"case": 17, "audit": "PAT-001"}]), "case cannot be used", "a text"),
        (changed(sentinel=[{"case": "a", "audit": "PAT-001"}] * 2), "declared twice", "once"),
        (with_entry(severity="major"), "severity cannot be used", '"gate"'),
        (with_entry(optional="yes"), "optional is neither true nor false", "true or false"),
        (with_entry(margin=-0.1), "The margin cannot be used", "at least 0"),
        (with_entry(margin="0.1"), "The margin cannot be used", "a number"),
        (with_entry(margin=float("nan")), "The margin cannot be used", "a number"),
        (with_entry(strata={"gates": ["site"]}), "did you mean 'gate'?", "gate, report"),
        (with_entry(strata={"gate": "site"}), "gate cannot be used", "list of texts"),
        (with_entry(strata={"gate": ["site"], "report": ["site"]}), "cannot be told apart", "once"),
        (with_entry(strata={"gate": [" "]}), "cannot be told apart", "once"),
        (
            with_entry(measurement="PAT-001.removal_rate[site A]", strata={"gate": ["site"]}),
            "A stratum has no strata",
            "PAT-001.removal_rate",
        ),
        (
            changed(criterion=[{**ENTRY, "strata": {"gate": ["site"]}}, {**ENTRY, "id": "AC-01[site A]"}]),
            "another one's stratum",
            "bracket",
        ),
    ],
)
def test_refuses_what_a_table_cannot_say(content: dict[str, Any], problem: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_criteria(content, "plan.toml")
    assert problem in caught.value.problem
    assert expected in str(caught.value.expected)
    assert "plan.toml" in str(caught.value.where)
    assert caught.value.found is not None


# Properties

names = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=8)
texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=20)


@st.composite
def contents(draw: Any) -> dict[str, Any]:
    entries = [
        {
            "id": name,
            "measurement": draw(names),
            "limit": {"max": draw(st.floats(-1e6, 1e6))},
            "judged_on": "upper",
            "rationale": draw(texts),
            "severity": draw(st.sampled_from(["gate", "report"])),
            "margin": draw(st.floats(0, 1e6)),
            "optional": draw(st.booleans()),
        }
        for name in draw(st.lists(names, min_size=1, max_size=3, unique=True))
    ]
    return {
        "schema": "medgan-qa/criteria/1",
        "alpha": draw(st.floats(0.001, 0.499)),
        "criterion": entries,
        "context": {"intended_use": draw(texts), "claims": draw(st.lists(texts, max_size=3))},
        "data": {"min": draw(st.dictionaries(st.sampled_from(["patients", "sites"]), st.integers(1, 10**6)))},
        "attempts": {"max": draw(st.integers(1, 99))},
    }


def turned(value: Any) -> Any:
    """The same with the keys of every table the other way round."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


@given(contents())
def test_prop_content_reads_back_and_its_digest_does_not_depend_on_the_order_of_keys(content: dict[str, Any]) -> None:
    found = parse_criteria(content, "here")
    assert parse_criteria(turned(content), "elsewhere").digest() == found.digest()
    again = parse_criteria(json.loads(canonical_json(found.content())), "here")
    assert again == found
    assert again.digest() == found.digest()


@given(contents(), st.data())
def test_prop_any_other_limit_is_named(content: dict[str, Any], data: st.DataObject) -> None:
    before = parse_criteria(content, "here")
    entry = data.draw(st.sampled_from(content["criterion"]))
    old = float(entry["limit"]["max"])
    entry["limit"] = {"max": data.draw(st.floats(-1e6, 1e6).filter(lambda v: repr(v) != repr(old)))}
    after = parse_criteria(content, "here")
    assert after.digest() != before.digest()
    new = float(entry["limit"]["max"])
    assert changes(before.content(), after.content()) == [f"criterion.{entry['id']}.limit.max: {old!r} -> {new!r}"]


def test_the_guide_shows_keys_that_there_are() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "how-to" / "criteria.md").read_text(encoding="utf-8")
    first, *rest = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)]
    assert parse_criteria(first, "guide").declared[0].hazard == "HZ-03"
    for block in rest:
        parse_criteria({**CONTENT, **block}, "guide")
    assert len(rest) == 4
