"""Locks: what was fixed is found again, and everything that changed since is named."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medgan_qa.cohorts.dataset import read_dataset
from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.criteria import read_criteria
from medgan_qa.errors import ConfigurationError, InputError, IntegrityError, OutputError
from medgan_qa.evidence import _lock_writing
from medgan_qa.evidence.lock import (
    Lock,
    LockState,
    Written,
    check_for_lock,
    check_lock,
    find_lock,
    lock_name,
    locked_criteria,
    make_lock,
    read_lock,
    write_lock,
)
from medgan_qa.suites import suite

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TEXT = """# Prüfplan für Kopf
schema = "medgan-qa/criteria/1"
protocol = {id = "VP-012", revision = "B"}

[[criterion]]
id = "AC-01"
measurement = "PAT-001.removal_rate"
limit = {max = 0.10}
judged_on = "upper"
rationale = "ein übersehener Tumor"
hazard = "HZ-03"
"""


class Place:
    """A folder with a criteria file and a dataset of four cases, both with names beyond ASCII."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.criteria_file = folder / "prüfplan.toml"
        self.lock_file = folder / "criteria.lock.json"
        self.rows = [
            {
                "case_id": f"fall-ä{k}",
                "patient_id": f"P{k}",
                "partition": "test",
                "image": f"bilder/ä{k}.npy",
                "site": "A",
            }
            for k in range(4)
        ]
        (folder / "daten" / "bilder").mkdir(parents=True)
        for k in range(4):
            np.save(folder / "daten" / "bilder" / f"ä{k}.npy", np.full((4, 4), k, np.uint8))
        self.write_criteria(TEXT)
        self.write_table()

    def write_criteria(self, text: str) -> None:
        self.criteria_file.write_bytes(text.encode())

    def write_table(self, **description: Any) -> None:
        with (self.folder / "daten" / "cases.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
        content = {"schema": "medgan-qa/dataset/1", "name": "Testdaten", "cases": "cases.csv", "value_range": [0, 255]}
        lines = [f"{key} = {json.dumps(value)}\n" for key, value in {**content, **description}.items()]
        (self.folder / "daten" / "data.toml").write_text("".join(lines), encoding="utf-8")

    def make(self, suite_name: str = "translation", **options: Any) -> Lock:
        data = self.folder / "daten"
        given: dict[str, Any] = {"who": "Åse", "now": NOW, "tool_version": "0.1.0", "commit": "abc", **options}
        return make_lock(read_criteria(self.criteria_file), suite_name, read_dataset(data), str(data), **given)

    def write(self, **options: Any) -> Written:
        return write_lock(self.make(**options), self.lock_file)

    def check(self, *, suite_name: str = "translation", version: str = "0.1.0", **options: Any) -> LockState:
        given = {"commit": "abc", "now": NOW, **options}
        cohort = read_dataset(self.folder / "daten")
        lock, criteria = read_lock(self.lock_file), read_criteria(self.criteria_file)
        return check_lock(lock, criteria, cohort, suite_name, version, **given)

    def drift(self, **options: Any) -> str:
        with pytest.raises(IntegrityError) as caught:
            self.check(**options)
        assert caught.value.exit_code == 4
        assert caught.value.where == str(self.lock_file)
        assert "Åse" in caught.value.problem
        return str(caught.value.found)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# What a lock holds


def test_a_lock_holds_what_was_fixed(place: Place) -> None:
    written = place.write()
    lock = read_lock(place.lock_file)
    assert lock == written.lock
    assert written.changed
    assert lock.criteria.text == TEXT
    assert lock.criteria.file == "prüfplan.toml"
    assert lock.criteria.sha256 == hashlib.sha256(place.criteria_file.read_bytes()).hexdigest()
    assert lock.criteria.digest == read_criteria(place.criteria_file).digest() == locked_criteria(lock).digest()
    assert (lock.data.name, lock.data.file) == ("Testdaten", "daten/data.toml")
    assert list(lock.data.rows) == [f"fall-ä{k}" for k in range(4)]
    assert (
        lock.data.files["fall-ä1, image (ä1.npy)"]
        == hashlib.sha256((place.folder / "daten/bilder/ä1.npy").read_bytes()).hexdigest()
    )
    assert (lock.locked_utc, lock.locked_by, lock.reason, lock.previous) == ("2026-03-01T12:00:00Z", "Åse", "", None)
    assert (lock.tool.name, lock.tool.version, lock.tool.commit) == ("medgan-qa", "0.1.0", "abc")
    assert lock.sha256 == hashlib.sha256(place.lock_file.read_bytes()).hexdigest()


def test_the_time_is_utc_whatever_zone_it_was_given_in(place: Place) -> None:
    from datetime import timezone

    local = NOW.astimezone(timezone(timedelta(hours=9)))
    assert place.make(now=local).locked_utc == "2026-03-01T12:00:00Z"


def test_the_data_are_found_from_where_the_lock_lies(place: Place) -> None:
    lock = place.write().lock
    assert read_dataset(Path(lock.data.path(place.folder))).digest() == lock.data.digest
    elsewhere = place.folder / "sperren"
    elsewhere.mkdir()
    other = place.make(folder=elsewhere)
    assert (other.data.file, other.criteria.file) == ("../daten/data.toml", "../prüfplan.toml")


def test_phantoms_are_locked_by_name(place: Place) -> None:
    cohort = BrainPhantoms(people=2)
    lock = make_lock(read_criteria(place.criteria_file), "translation", cohort, "phantom:brain", "x", NOW)
    assert lock.data.path(place.folder) == lock.data.file == "phantom:brain"
    assert (len(lock.data.rows), lock.data.files) == (4, {})


def test_a_lock_is_found_beside_the_criteria_that_it_names(place: Place) -> None:
    assert find_lock(place.criteria_file) is None
    place.write()
    assert find_lock(place.criteria_file) == place.lock_file
    other = place.folder / "other.toml"
    other.write_bytes(place.criteria_file.read_bytes())
    assert find_lock(other) is None


def test_several_criteria_files_in_one_folder_have_a_lock_each(place: Place) -> None:
    place.write()
    other = place.folder / "other.toml"
    other.write_text(TEXT.replace("0.10", "0.20"), encoding="utf-8")
    lock = place.make()
    lock = lock.model_copy(update={"criteria": lock.criteria.model_copy(update={"file": "other.toml"})})
    with pytest.raises(ConfigurationError, match="other criteria") as caught:
        write_lock(lock, place.lock_file)
    own = place.folder / lock_name(other)
    assert str(own) in str(caught.value.todo)
    write_lock(lock, own)
    assert find_lock(other) == own
    assert find_lock(place.criteria_file) == place.lock_file


# Damage


@pytest.mark.parametrize(
    ("edit", "error", "said"),
    [
        (lambda text: "", IntegrityError, "no JSON"),
        (lambda text: text[: len(text) // 2], IntegrityError, "no JSON"),
        (lambda text: "[]", IntegrityError, "no object but a list"),
        (lambda text: text.replace("lock/1", "lock/2"), InputError, "medgan-qa/lock/2"),
        (lambda text: text.replace("lock/1", "lock/0"), InputError, "medgan-qa/lock/0"),
        (lambda text: "{}", InputError, "None"),
        (lambda text: text.replace('"suite"', '"suit"'), IntegrityError, "suite: Field required"),
        (lambda text: text.replace('"reason"', '"why": "", "reason"'), IntegrityError, "why: Extra inputs"),
        (lambda text: text.replace("max = 0.10", "max = 0.99"), IntegrityError, "SHA-256"),
        (lambda text: text.replace("Prüfplan für", "Pruefplan für"), IntegrityError, "SHA-256"),
    ],
)
def test_a_damaged_lock_is_refused(place: Place, edit: Callable[[str], str], error: type[Exception], said: str) -> None:
    place.write()
    place.lock_file.write_text(edit(place.lock_file.read_text(encoding="utf-8")), encoding="utf-8")
    for read in (read_lock, lambda path: find_lock(place.criteria_file)):
        with pytest.raises(error) as caught:
            read(place.lock_file)
        assert said in str(caught.value.found)
        assert caught.value.where == str(place.lock_file)
        assert caught.value.todo
        assert caught.value.expected


def test_a_lock_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_lock(tmp_path / "criteria.lock.json")
    assert caught.value.exit_code == 2


# What changed since


def test_nothing_changed(place: Place) -> None:
    lock = place.write().lock
    state = place.check()
    assert state.notes == ()
    assert state.facts == {
        "locked": True,
        "lock_file": "criteria.lock.json",
        "lock_sha256": lock.sha256,
        "locked_utc": "2026-03-01T12:00:00Z",
        "locked_by": "Åse",
        "lock_previous": None,
        "lock_tool_version": "0.1.0",
        "lock_reason": "",
    }


def test_a_folder_that_moved_as_a_whole_is_unchanged(place: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    place.write()
    moved = tmp_path_factory.mktemp("anderswo") / "kopie"
    place.folder.rename(moved)
    place.folder, place.criteria_file = moved, moved / "prüfplan.toml"
    place.lock_file = moved / "criteria.lock.json"
    assert find_lock(place.criteria_file) == place.lock_file
    assert place.check().facts["locked"]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("max = 0.10", "max = 0.11", "criteria, criterion.AC-01.limit.max: 0.1 -> 0.11"),
        ('revision = "B"', 'revision = "C"', 'criteria, protocol.revision: "B" -> "C"'),
        ("ein übersehener", "kein übersehener", "criteria, criterion.AC-01.rationale: "),
        ("AC-01", "AC-02", "criteria, criterion.AC-02: added"),
        ('judged_on = "upper"', 'judged_on = "upper"\nseverity = "report"', 'severity: "gate" -> "report"'),
    ],
)
def test_a_changed_key_is_named(place: Place, old: str, new: str, line: str) -> None:
    place.write()
    place.write_criteria(TEXT.replace(old, new))
    assert line in place.drift()


def test_layout_and_comments_are_a_note(place: Place) -> None:
    place.write()
    place.write_criteria(TEXT.replace("# Prüfplan", "# Plan").replace("0.10", "1e-1").replace("\n", "\r\n"))
    assert place.check().notes == (
        "Layout or comments of the criteria file changed since the lock; what it says did not.",
    )


def test_a_changed_cell_names_its_case(place: Place) -> None:
    place.write()
    place.rows[2]["site"] = "B"
    place.write_table()
    found = place.drift()
    assert found == "1 in all:\n    data, 1 row changed: fall-ä2"


def test_added_and_removed_rows_and_files_are_named(place: Place) -> None:
    place.write()
    place.rows[3] = {**place.rows[3], "case_id": "fall-neu", "image": "bilder/neu.npy"}
    np.save(place.folder / "daten/bilder/neu.npy", np.zeros((4, 4), np.uint8))
    place.write_table()
    found = place.drift()
    for line in (
        "4 in all",
        "data, 1 row added: fall-neu",
        "data, 1 row removed: fall-ä3",
        "data, 1 file added: fall-neu, image",
        "data, 1 file removed: fall-ä3, image (ä3.npy)",
    ):
        assert line in found


def test_a_changed_description_is_told(place: Place) -> None:
    place.write()
    place.write_table(value_range=[0, 128])
    assert place.drift() == (
        "1 in all:\n    data: what describes it (the dataset file, or what phantoms are drawn from) changed"
    )
    place.write_table(name="Andere")
    assert "data: Testdaten -> Andere" in place.drift()


def test_of_many_changes_ten_are_named_and_the_rest_counted(place: Place) -> None:
    place.rows = [{**place.rows[0], "case_id": f"fall-{k:02d}"} for k in range(25)]
    place.write_table()
    place.write()
    for row in place.rows[:14]:
        row["site"] = "B"
    place.write_table()
    found = place.drift()
    assert "data, 14 rows changed: fall-00, fall-01," in found
    assert found.endswith("fall-09 and 4 more")


def test_suite_and_version_are_fixed_too(place: Place) -> None:
    place.write()
    found = place.drift(suite_name="synthesis", version="0.2.0")
    assert "suite: translation -> synthesis" in found
    assert "version of medgan-qa: 0.1.0 -> 0.2.0" in found


def test_everything_that_changed_is_in_one_message(place: Place) -> None:
    place.write()
    place.write_criteria(TEXT.replace("0.10", "0.11"))
    place.rows[0]["site"] = "B"
    place.write_table()
    np.save(place.folder / "daten/bilder/ä1.npy", np.full((4, 4), 9, np.uint8))
    found = place.drift(version="9")
    assert found.startswith("4 in all:")
    for part in ("limit.max", "1 row changed: fall-ä0", "1 file changed: fall-ä1, image (ä1.npy)", "0.1.0 -> 9"):
        assert part in found


def test_another_commit_of_the_same_version_is_a_note(place: Place) -> None:
    place.write()
    [note] = place.check(commit="def").notes
    assert "abc" in note
    assert "def" in note


def test_a_lock_from_the_future_is_a_note(place: Place) -> None:
    place.write()
    [note] = place.check(now=NOW - timedelta(seconds=1)).notes
    assert "future" in note


def test_a_changed_training_manifest_is_told(place: Place) -> None:
    manifest = place.folder / "training.csv"
    manifest.write_text("patient_id\nT1\n", encoding="utf-8")
    place.write_criteria(TEXT + '[data.independence]\nby = ["patient"]\ntrain_manifest = "training.csv"\n')
    place.write()
    assert place.check().notes == ()
    manifest.write_text("patient_id\nT2\n", encoding="utf-8")
    assert "training manifest: SHA-256" in place.drift()
    manifest.unlink()
    with pytest.raises(InputError, match="training manifest"):
        place.check()


def test_a_digest_that_was_edited_in_the_lock_is_drift(place: Place) -> None:
    lock = place.write().lock
    text = place.lock_file.read_text(encoding="utf-8")
    place.lock_file.write_text(text.replace(lock.criteria.digest, "0" * 64), encoding="utf-8")
    assert "the lock's digest is not that of the text in it" in place.drift()
    place.lock_file.write_text(text.replace(lock.data.digest, "0" * 64), encoding="utf-8")
    assert "with the same rows and files" in place.drift()


def test_phantoms_that_are_drawn_in_another_way_are_told(place: Place) -> None:
    criteria = read_criteria(place.criteria_file)
    make = (criteria, "translation")
    old = make_lock(*make, BrainPhantoms(people=3), "phantom:brain", "Åse", NOW, tool_version="1")
    path = write_lock(old, place.lock_file).lock.path
    assert path is not None
    assert check_lock(read_lock(path), criteria, BrainPhantoms(people=3), "translation", "1").facts["locked"]
    with pytest.raises(IntegrityError) as caught:
        check_lock(read_lock(path), criteria, BrainPhantoms(people=2), "translation", "1")
    assert "2 rows removed" in str(caught.value.found)
    with pytest.raises(IntegrityError) as caught:
        check_lock(read_lock(path), criteria, BrainPhantoms(people=3, size=32), "translation", "1")
    assert "what phantoms are drawn from" in str(caught.value.found)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.integers(0, 3), st.integers(0, 10**6), st.integers(1, 255))
def test_prop_any_changed_byte_of_a_file_is_named(
    tmp_path_factory: pytest.TempPathFactory, number: int, where: int, by: int
) -> None:
    place = Place(tmp_path_factory.mktemp("p"))
    place.write()
    path = place.folder / f"daten/bilder/ä{number}.npy"
    content = bytearray(path.read_bytes())
    content[where % len(content)] ^= by
    path.write_bytes(content)
    assert place.drift() == f"1 in all:\n    data, 1 file changed: fall-ä{number}, image (ä{number}.npy)"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.floats(0, 1).filter(lambda limit: limit != 0.1))
def test_prop_any_other_limit_is_named(tmp_path_factory: pytest.TempPathFactory, limit: float) -> None:
    place = Place(tmp_path_factory.mktemp("p"))
    place.write()
    place.write_criteria(TEXT.replace("0.10", repr(float(limit))))
    assert place.drift() == f"1 in all:\n    criteria, criterion.AC-01.limit.max: 0.1 -> {float(limit)!r}"


# Locking again


def test_locking_the_same_again_changes_nothing(place: Place) -> None:
    before = place.write()
    content = place.lock_file.read_bytes()
    again = place.write(now=NOW + timedelta(days=1), who="someone else", reason="because")
    assert not again.changed
    assert again.lock == before.lock
    assert place.lock_file.read_bytes() == content
    assert [p.name for p in place.folder.glob("*.json")] == ["criteria.lock.json"]


def test_another_lock_needs_a_reason(place: Place) -> None:
    place.write()
    place.write_criteria(TEXT.replace("0.10", "0.20"))
    with pytest.raises(ConfigurationError) as caught:
        place.write(reason=" ")
    assert "--reason" in str(caught.value.todo)
    assert "criterion.AC-01.limit.max: 0.1 -> 0.2" in str(caught.value.found)
    assert read_lock(place.lock_file).criteria.text == TEXT


@pytest.mark.parametrize(
    ("edit", "options", "said"),
    [
        (("# Prüfplan", "# Plan"), {}, "layout or comments"),
        (("", ""), {"commit": "def"}, "commit of the tool: abc -> def"),
        (("", ""), {"tool_version": "2"}, "version of medgan-qa"),
        (("", ""), {"suite_name": "synthesis"}, "suite: translation -> synthesis"),
    ],
)
def test_a_reason_is_asked_for_whatever_differs(
    place: Place, edit: tuple[str, str], options: dict[str, Any], said: str
) -> None:
    place.write()
    place.write_criteria(TEXT.replace(*edit) if edit[0] else TEXT)
    with pytest.raises(ConfigurationError) as caught:
        place.write(**options)
    assert said in str(caught.value.found)


def test_locks_of_one_claim_are_a_chain(place: Place) -> None:
    contents = []
    for limit in ("0.10", "0.20", "0.30"):
        place.write_criteria(TEXT.replace("0.10", limit))
        written = place.write(reason=f"limit {limit}")
        contents.append(place.lock_file.read_bytes())
    second = read_lock(place.folder / "criteria.lock.2.json")
    assert (place.folder / "criteria.lock.1.json").read_bytes() == contents[0]
    assert (place.folder / "criteria.lock.2.json").read_bytes() == contents[1]
    assert written.kept == place.folder / "criteria.lock.2.json"
    assert (second.previous, second.previous_file) == (hashlib.sha256(contents[0]).hexdigest(), "criteria.lock.1.json")
    assert written.lock.previous == hashlib.sha256(contents[1]).hexdigest()
    assert (written.lock.previous_file, written.lock.reason) == ("criteria.lock.2.json", "limit 0.30")
    state = place.check()
    assert (state.facts["lock_previous"], state.facts["lock_reason"]) == (written.lock.previous, "limit 0.30")
    assert state.notes == ()


def test_an_earlier_lock_that_was_edited_is_drift_and_a_lost_one_a_note(place: Place) -> None:
    place.write()
    place.write_criteria(TEXT.replace("0.10", "0.20"))
    place.write(reason="wider")
    kept = place.folder / "criteria.lock.1.json"
    kept.write_bytes(kept.read_bytes() + b" ")
    assert "earlier lock criteria.lock.1.json: SHA-256" in place.drift()
    kept.unlink()
    [note] = place.check().notes
    assert "is not beside it" in note


def test_a_lock_interrupted_after_the_copy_was_made_goes_on_with_that_copy(place: Place) -> None:
    place.write()
    (place.folder / "criteria.lock.1.json").write_bytes(place.lock_file.read_bytes())
    place.write_criteria(TEXT.replace("0.10", "0.20"))
    assert place.write(reason="wider").kept == place.folder / "criteria.lock.1.json"


def test_a_damaged_lock_is_not_replaced(place: Place) -> None:
    place.write()
    place.lock_file.write_text("{", encoding="utf-8")
    with pytest.raises(IntegrityError):
        place.write(reason="x")
    assert place.lock_file.read_text(encoding="utf-8") == "{"


def test_a_write_that_fails_leaves_the_earlier_lock(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write()
    content = place.lock_file.read_bytes()
    place.write_criteria(TEXT.replace("0.10", "0.20"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_lock_writing.os, "fsync", full)
    with pytest.raises(OutputError, match="cannot be written"):
        place.write(reason="x")
    assert place.lock_file.read_bytes() == content
    assert not [p.name for p in place.folder.iterdir() if p.name.startswith(".")]


def test_a_folder_that_is_not_there_is_an_output_error(place: Place) -> None:
    with pytest.raises(OutputError):
        write_lock(place.make(), place.folder / "nowhere" / "criteria.lock.json")


# Before locking


def test_criteria_that_a_suite_can_judge_may_be_locked(place: Place) -> None:
    check_for_lock(read_criteria(place.criteria_file), suite("translation"), read_dataset(place.folder / "daten"))


def test_default_criteria_of_every_suite_could_be_locked() -> None:
    for name, cohort in (("translation", BrainPhantoms(people=2)), ("synthesis", BrainPhantoms(people=2))):
        check_for_lock(suite(name).criteria, suite(name), cohort)


def test_all_that_no_run_could_judge_is_in_one_message(place: Place) -> None:
    text = TEXT.replace("ein übersehener Tumor", "").replace("HZ-03", "HZ-77").replace("removal_rate", "removal")
    extra = (
        '[context]\nsuite = "synthesis"\n[[sentinel]]\ncase = "fall-ä9"\naudit = "MEM-001"\n[matching]\nwurst = 1\n'
        '[data.independence]\nby = ["patient"]\ntrain_manifest = "none.csv"\n'
    )
    place.write_criteria(text + extra)
    with pytest.raises(ConfigurationError) as caught:
        check_for_lock(read_criteria(place.criteria_file), suite("translation"), read_dataset(place.folder / "daten"))
    found = str(caught.value.found)
    assert found.startswith("8 in all")
    for part in ("rationale", "HZ-77", "PAT-001.removal", "'synthesis'", "MEM-001", "fall-ä9", "wurst", "none.csv"):
        assert part in found
    assert caught.value.exit_code == 2


def test_a_value_that_a_parameter_cannot_have_is_found_before_the_lock(place: Place) -> None:
    place.write_criteria(TEXT + '[matching]\ndilate_mm = "three"\n[parameters."PAT-003"]\nmin_lesion_pixels = -1\n')
    with pytest.raises(ConfigurationError) as caught:
        check_for_lock(read_criteria(place.criteria_file), suite("translation"), read_dataset(place.folder / "daten"))
    assert "dilate_mm of PAT-001" in str(caught.value.found)
    assert "min_lesion_pixels of PAT-003" in str(caught.value.found)


def test_a_sentinel_outside_of_the_test_partition_is_refused(place: Place) -> None:
    place.rows[1]["partition"] = "train"
    place.write_table()
    place.write_criteria(TEXT + '[[sentinel]]\ncase = "fall-ä1"\naudit = "PAT-001"\n')
    with pytest.raises(ConfigurationError, match="cannot be locked") as caught:
        check_for_lock(read_criteria(place.criteria_file), suite("translation"), read_dataset(place.folder / "daten"))
    assert "fall-ä1: it is no case of the test partition" in str(caught.value.found)


def test_the_content_of_a_lock_does_not_depend_on_the_machine(place: Place) -> None:
    assert place.make().to_bytes() == place.make().to_bytes()
    assert replace(read_criteria(place.criteria_file), file="x").digest() == place.make().criteria.digest
