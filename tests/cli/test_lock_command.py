"""medgan-qa lock: what it writes, what it prints, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from medgan_qa.cli.lock_command import command
from medgan_qa.criteria import read_criteria
from medgan_qa.errors import ConfigurationError, DatasetError, MedganQAError
from medgan_qa.evidence.lock import find_lock, read_lock

TEXT = """
schema = "medgan-qa/criteria/1"
[context]
suite = "translation"
[[criterion]]
id = "AC-01"
measurement = "PAT-001.removal_rate"
limit = {max = 0.10}
judged_on = "upper"
rationale = "a missed lesion"
hazard = "HZ-03"
"""


@pytest.fixture
def folder(workshop: Path, tmp_path: Path) -> Path:
    """A dataset of 64 cases and a criteria file beside it."""
    place = tmp_path / "Prüfung"
    place.mkdir()
    for path in workshop.iterdir():
        if path.suffix in (".png", ".npy") or path.name in ("data.toml", "cases.csv"):
            shutil.copy(path, place / path.name)
    (place / "plan.toml").write_text(TEXT, encoding="utf-8")
    return place


def lock(folder: Path, *options: str, data: str | None = None) -> Result:
    given = ["--data", data or str(folder / "data.toml"), *options]
    return CliRunner().invoke(command, [str(folder / "plan.toml"), *given], standalone_mode=False)


def refused(folder: Path, *options: str, data: str | None = None) -> MedganQAError:
    result = lock(folder, *options, data=data)
    assert isinstance(result.exception, MedganQAError), result.exception
    return result.exception


def test_locks_beside_the_criteria_and_says_what(folder: Path) -> None:
    result = lock(folder, "--by", "Åse Müller")
    assert result.exception is None
    path = folder / "criteria.lock.json"
    found = read_lock(path)
    assert find_lock(folder / "plan.toml") == path
    assert (found.suite, found.locked_by, found.data.file) == ("translation", "Åse Müller", "data.toml")
    for part in (
        str(path),
        str(found.sha256),
        found.criteria.digest,
        found.data.digest,
        "64 cases",
        "160 files",
        "by: Åse Müller",
    ):
        assert part in result.stdout
    assert found.criteria.digest == read_criteria(folder / "plan.toml").digest()


def test_who_locks_is_the_login_name_and_is_said_to_be(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "amueller")
    assert "by: amueller (login name)" in lock(folder).stdout
    assert read_lock(folder / "criteria.lock.json").locked_by == "amueller (login name)"


def test_without_a_login_name_a_name_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nobody)
    error = refused(folder)
    assert "--by" in str(error.todo)
    assert lock(folder, "--by", "Åse").exception is None


def test_the_folder_of_a_dataset_and_phantoms_will_do(folder: Path) -> None:
    data = folder / "daten"
    data.mkdir()
    for path in [*folder.glob("*.png"), *folder.glob("*.npy"), folder / "data.toml", folder / "cases.csv"]:
        path.rename(data / path.name)
    assert lock(folder, data=str(data)).exception is None
    assert read_lock(folder / "criteria.lock.json").data.file == "daten/data.toml"
    assert lock(folder, "--out", str(folder / "p.lock.json"), data="phantom:brain").exception is None
    found = read_lock(folder / "p.lock.json")
    assert (found.data.file, len(found.data.rows), found.data.files) == ("phantom:brain", 200, {})


def test_the_suite_is_needed_where_the_criteria_do_not_name_it(folder: Path) -> None:
    plan = folder / "plan.toml"
    plan.write_text(TEXT.replace('[context]\nsuite = "translation"', ""), encoding="utf-8")
    assert "--suite" in str(refused(folder).expected)
    assert lock(folder, "--suite", "translation").exception is None


def test_another_suite_than_the_one_declared_is_refused(folder: Path) -> None:
    error = refused(folder, "--suite", "synthesis")
    assert "[context] suite is 'translation'" in str(error.found)
    assert not (folder / "criteria.lock.json").exists()


def test_locking_again(folder: Path) -> None:
    lock(folder)
    again = lock(folder)
    assert "Locked already, and nothing changed since" in again.stdout
    (folder / "plan.toml").write_text(TEXT.replace("0.10", "0.20"), encoding="utf-8")
    assert isinstance(refused(folder), ConfigurationError)
    result = lock(folder, "--reason", "Der Grenzwert war ein Tippfehler")
    assert "reason: Der Grenzwert" in result.stdout
    assert "replaces: criteria.lock.1.json" in result.stdout
    assert (folder / "criteria.lock.1.json").is_file()


def test_json_for_machines(folder: Path) -> None:
    found = json.loads(lock(folder, "--json").stdout)
    path = folder / "criteria.lock.json"
    assert found["lock"] == str(path)
    assert found["sha256"] == read_lock(path).sha256
    assert (found["data"]["cases"], found["data"]["files"], found["changed"]) == (64, 160, True)
    assert json.loads(lock(folder, "--json").stdout)["changed"] is False


def test_conditions_that_do_not_hold_are_told_before_it_is_too_late(folder: Path) -> None:
    more = '[data]\nmin = {patients = 40, lesions = 9}\n[data.independence]\nby = ["patient"]\n'
    (folder / "plan.toml").write_text(TEXT + more, encoding="utf-8")
    result = lock(folder)
    assert result.exception is None
    assert "Note: DATA-patients: 32 of 40 patients; 8 more. No run can pass." in result.stderr
    assert "Note: INDEPENDENCE-patient: No patient of the training data is known" in result.stderr
    assert "lesions" not in result.stderr
    assert "Note" not in result.stdout


def test_criteria_that_no_run_could_judge_are_refused_whole(folder: Path) -> None:
    (folder / "plan.toml").write_text(TEXT.replace("a missed lesion", "").replace("HZ-03", "HZ-77"), encoding="utf-8")
    error = refused(folder)
    assert "2 in all" in str(error.found)
    assert not (folder / "criteria.lock.json").exists()


def test_data_that_cannot_be_read_are_not_locked(folder: Path) -> None:
    next(folder.glob("*-mask.png")).write_bytes(b"no picture")
    assert isinstance(refused(folder), DatasetError)
    assert not (folder / "criteria.lock.json").exists()


def test_data_are_required(folder: Path) -> None:
    result = CliRunner().invoke(command, [str(folder / "plan.toml")])
    assert result.exit_code == 2
    assert "--data" in result.stderr
