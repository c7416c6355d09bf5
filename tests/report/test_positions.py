from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medgan_qa import report
from medgan_qa.errors import ConfigurationError
from medgan_qa.record import Record
from medgan_qa.report.declared import ROLES
from medgan_qa.report.positions import Positions, positions
from medgan_qa.report.regulations import CHECK
from medgan_qa.report.resources import Templates

RunMaker = Callable[..., Record]
SUITES = ("translation", "synthesis", "super-resolution", "augmentation", "discriminator")
OVERCLAIMS = ("compliant", "compliance", "approved for", "is safe", "is acceptable", "is unacceptable", "must not")
HEAD = 'edition = "2027-03"\ndate = "2027-03-01"\n[source.own]\nname = "Own"\ndate = "2027"\n'


def words(found: Positions) -> str:
    return " ".join([*found.said, *(text for entry in found.entries for text in entry.texts)])


def own(tmp_path: Path, table: str) -> Templates:
    (tmp_path / "positions.toml").write_text(table, encoding="utf-8")
    return Templates(tmp_path)


def purpose(html: str) -> str:
    within = html.partition('data-clause="position"')[2].partition("<h2 ")[0]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", within))


@pytest.mark.parametrize(("suite", "role"), list(itertools.product(SUITES, [*ROLES, ""])))
def test_every_suite_and_role_has_a_dated_position_and_no_verdict(suite: str, role: str) -> None:
    found = positions(Templates(), suite, role)
    assert any(entry.date == "2021-03-19" for entry in found.entries)
    assert any(entry.date > "2021-03-19" for entry in found.entries)
    assert all(entry.date and entry.source and entry.texts for entry in found.entries)
    assert not [word for word in OVERCLAIMS if word in words(found).lower()]
    assert bool(found.said) == (not role)


@pytest.mark.parametrize(
    ("suite", "role", "text"),
    [
        ("translation", "viewed", "probably unacceptable"),
        ("super-resolution", "viewed", "high-stakes situations"),
        ("super-resolution", "pipeline_input", "image analysis pipelines"),
        ("augmentation", "training_only", "clinical experts"),
        ("synthesis", "training_only", "turn off all augmentation on the final test partition"),
        ("discriminator", "discriminator_only", "thrown away"),
        ("discriminator", "viewed", "networks for binary classification"),
        ("translation", "viewed", "K241329"),
        ("synthesis", "viewed", "no medical device at all"),
    ],
)
def test_what_the_article_and_its_successors_say_is_told(suite: str, role: str, text: str) -> None:
    assert text in words(positions(Templates(), suite, role))


def test_the_advice_on_training_images_is_not_told_of_images_in_a_device() -> None:
    assert "probably acceptable" not in words(positions(Templates(), "augmentation", "viewed"))
    assert "risky" not in words(positions(Templates(), "augmentation", "training_only"))


def test_what_was_not_read_in_the_primary_text_says_so() -> None:
    found = {entry.source: entry.texts for entry in positions(Templates(), "translation", "viewed").entries}
    checked = [source for source, texts in found.items() if texts[-1] == CHECK]
    assert checked
    assert all("secondary source" in source for source in checked)


@pytest.mark.parametrize("suite", [*SUITES, "some other suite"])
def test_without_a_role_the_report_says_what_it_depends_on(suite: str) -> None:
    found = positions(Templates(), suite, "")
    assert "depends on" in found.said[0]
    assert "Neither the model card nor the criteria say" in found.said[1]
    assert found.role == "not declared"


def test_a_role_that_the_table_does_not_know_is_named() -> None:
    found = positions(Templates(), "translation", "decoration")
    assert 'The declared role, "decoration", is none that the table knows.' in found.said
    assert found.entries == positions(Templates(), "translation", "").entries


def test_the_role_of_the_criteria_goes_before_that_of_the_card(make_run: RunMaker, tmp_path: Path) -> None:
    subject: dict[str, Any] = {**make_run().subject, "card": {"output_role": "training_only"}}
    page = purpose(report.render_html(make_run(subject=subject), tmp_path))
    assert "Role of the output: training of other models only." in page
    assert "probably acceptable" in page
    record = make_run(subject=subject, context={"context": {"output_role": "viewed"}}, files={})
    assert "Role of the output: viewed by people." in purpose(report.render_html(record, tmp_path))


def test_a_card_without_a_role_leaves_a_gap(make_run: RunMaker, tmp_path: Path) -> None:
    subject: dict[str, Any] = {**make_run().subject, "card": {"output_role": "not declared"}}
    page = report.render_html(make_run(subject=subject), tmp_path)
    assert "Role of the output: not declared." in purpose(page)
    assert "depends on what becomes of the generated images" in purpose(page)
    assert "Not declared: role of the generated output." in page


def test_a_company_keeps_its_own_positions(make_run: RunMaker, tmp_path: Path) -> None:
    record = make_run()
    folder = tmp_path / "company"
    folder.mkdir()
    own(folder, f'{HEAD}[[position]]\nsource = "own"\ntext = "Our board decides."\n')
    page = purpose(report.render_html(record, tmp_path, folder))
    assert "Table of positions, edition 2027-03, as of 2027-03-01." in page
    assert "2027 Own Our board decides." in page
    assert "probably unacceptable" not in page


def test_a_table_that_holds_nothing_on_a_suite_says_so(tmp_path: Path) -> None:
    table = f'{HEAD}[[position]]\nsource = "own"\nsuites = ["translation"]\ntext = "x"\n'
    found = positions(own(tmp_path, table), "synthesis", "viewed")
    assert found.entries == []
    assert "holds nothing on the suite synthesis" in found.said[0]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("", "no edition"),
        ('edition = "1"\n', "no edition"),
        (f"{HEAD}[extra]\nx = 1\n", "unknown key"),
        (f'{HEAD}[[position]]\nsource = "other"\ntext = "x"\n', "unknown source"),
        (f'{HEAD}[[position]]\nsource = "own"\n', "malformed"),
        (f'{HEAD}[[position]]\nsource = "own"\ntext = " "\n', "malformed"),
        (f'{HEAD}[[position]]\nsource = "own"\ntext = "x"\nsuite = "translation"\n', "malformed"),
        (f'{HEAD}[[position]]\nsource = "own"\ntext = "x"\nsuites = "translation"\n', "no list"),
        (f'{HEAD}[[position]]\nsource = "own"\ntext = "x"\nroles = ["seen"]\n', "unknown role"),
        (f'{HEAD}[[depends]]\ntext = ""\n', "malformed"),
        (f'{HEAD}[source.two]\nname = "x"\n', "malformed"),
        (f"{HEAD}[[position", "no TOML"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, table: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        positions(own(tmp_path, table), "translation", "viewed")
    error = raised.value
    assert expected in error.problem
    assert all((error.expected, error.found, error.where, error.todo))
