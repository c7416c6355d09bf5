"""Signatures and dispositions: what they cover, their chain, and what is refused."""

from __future__ import annotations

import base64
import json
import os
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.digests import sha256
from medgan_qa.errors import ConfigurationError, InputError, IntegrityError, MedganQAError, OutputError, RecordError
from medgan_qa.evidence.dsse import open_envelope, sign_statement, statement
from medgan_qa.evidence.keys import signing_key
from medgan_qa.evidence.signing import dispose, dispositions, sign, signatures
from medgan_qa.record import Record

MakeRecord = Callable[..., Record]
FINISHED = datetime(2026, 11, 3, 10, 15, tzinfo=UTC)
LATER = FINISHED + timedelta(hours=1)


@pytest.fixture
def folder(
    tmp_path: Path, make_record: MakeRecord, make_criterion: Callable[..., Any], make_audit: Callable[..., Any]
) -> Path:
    """A run with two evidence files, and a criterion of each verdict."""
    run = tmp_path / "run"
    files = {"cases.csv": b"audit,case_id\nPAT-001,c1\n", "exhibits/a.npz": b"\0array"}
    for name, content in files.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(content)
    verdicts = ("pass", "fail", "inconclusive", "error", "not_applicable")
    judged = [make_criterion(f"AC-{verdict}", verdict) for verdict in verdicts]
    judged += [make_criterion("AC-mixed", "pass"), make_criterion("AC-mixed", "fail")]
    record = make_record(
        audits=[make_audit(criteria=judged)],
        run={"id": "r1", "started_utc": "2026-11-03T10:12:00Z", "finished_utc": "2026-11-03T10:15:00Z"},
        files={name: sha256(content) for name, content in files.items()},
    )
    (run / "record.json").write_text(record.to_json() + "\n", encoding="utf-8")
    return run


def approve(folder: Path, **changes: Any) -> Path:
    return sign(folder, **{"name": "Ada", "role": "QA", "meaning": "approval", "now": LATER, **changes})


def accept(folder: Path, criterion: str = "AC-fail", how: str = "accepted-failure", **changes: Any) -> Path:
    said = {"reason": "known limit", "name": "Ada", "role": "QA", "now": LATER, **changes}
    return dispose(folder, criterion, how, **said)  # type: ignore[arg-type]


# What a signature says


def test_a_signature_covers_the_record_and_every_evidence_file(folder: Path) -> None:
    path = approve(folder, comment="second reading done")
    assert path == folder / "signatures" / "0001-approval.dsse.json"
    signed = open_envelope(path.read_bytes())
    assert signed.predicate_type == "urn:medgan-qa:signature:1"
    assert signed.subjects == {
        name: sha256((folder / name).read_bytes()) for name in ("record.json", "cases.csv", "exhibits/a.npz")
    }
    said = signed.predicate
    assert said["name"] == "Ada"
    assert said["role"] == "QA"
    assert said["meaning"] == "approval"
    assert said["comment"] == "second reading done"
    assert said["time_utc"] == "2026-11-03T11:15:00Z"
    assert said["number"] == 1
    assert said["previous"] is None
    assert said["record_sha256"] == signed.subjects["record.json"]
    assert said["public_key"] == signing_key(None, "Ada").public_hex
    [row] = signatures(folder)
    assert row.valid
    assert (row.number, row.file, row.kind) == (1, "signatures/0001-approval.dsse.json", "signature")
    assert (row.name, row.role, row.meaning, row.comment) == ("Ada", "QA", "approval", "second reading done")
    assert row.problem == row.note == ""


def test_signatures_are_a_chain(folder: Path) -> None:
    first, second, third = (
        approve(folder, meaning="author"),
        accept(folder),
        approve(folder, name="Grace", now=LATER + timedelta(days=1)),
    )
    assert [p.name for p in (first, second, third)] == [
        "0001-author.dsse.json",
        "0002-disposition.dsse.json",
        "0003-approval.dsse.json",
    ]
    assert open_envelope(second.read_bytes()).predicate["previous"] == sha256(first.read_bytes())
    assert open_envelope(third.read_bytes()).predicate["previous"] == sha256(second.read_bytes())
    assert [row.valid for row in signatures(folder)] == [True, True]
    [disposition] = dispositions(folder)
    assert disposition.valid
    assert (disposition.number, disposition.criterion, disposition.disposition) == (2, "AC-fail", "accepted-failure")
    assert (disposition.reason, disposition.name, disposition.kind) == ("known limit", "Ada", "disposition")
    assert open_envelope(second.read_bytes()).predicate["verdict"] == "fail"


def test_nobody_signed_yet(folder: Path) -> None:
    assert signatures(folder) == dispositions(folder) == []


def test_the_present_is_the_time_of_signing(folder: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    approve(folder, now=None)
    [row] = signatures(folder)
    assert before <= datetime.strptime(row.time_utc, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC) <= datetime.now(UTC)


def test_a_key_of_ones_own_signs(folder: Path, tmp_path: Path) -> None:
    own = signing_key(None, "somebody else")
    approve(folder, key_file=own.path)
    assert signatures(folder)[0].public_key == own.public_hex


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "李雷 Müller", "\u202eevil", "a\u2028b", "{{ 7*7 }}"])
def test_any_text_is_kept_as_it_is(folder: Path, text: str) -> None:
    approve(folder, name=text, role=text, comment=text)
    [row] = signatures(folder)
    assert row.valid
    assert (row.name, row.role, row.comment) == (text, text, text)


# What is refused


@pytest.mark.parametrize("field", ["name", "role"])
@pytest.mark.parametrize("text", ["", "  ", "a\nb", "a\x1b[31m", "a\0", "\ud800"])
def test_a_name_or_role_that_cannot_be_printed_is_refused(folder: Path, field: str, text: str) -> None:
    for call in (approve, accept):
        with pytest.raises(ConfigurationError) as error:
            call(folder, **{field: text})
        assert error.value.where == f"--{field}"
    assert not (folder / "signatures").exists()


@given(st.text(st.characters(categories=["Cc", "Cs"]), min_size=1))
def test_no_control_character_is_signed(comment: str) -> None:
    with pytest.raises(ConfigurationError):
        sign(Path("nowhere"), "Ada", "QA", "review", f"fine{comment}")


def test_an_empty_reason_or_an_unknown_meaning_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigurationError):
        accept(folder, reason=" ")
    with pytest.raises(ConfigurationError):
        approve(folder, meaning="approved")
    with pytest.raises(ConfigurationError):
        accept(folder, how="pass")


@pytest.mark.parametrize("name", ["record.json", "cases.csv", "exhibits/a.npz"])
def test_a_folder_whose_files_changed_is_not_signed(folder: Path, name: str) -> None:
    before = (folder / name).read_bytes()
    (folder / name).write_bytes(before + b"\0")
    with pytest.raises(MedganQAError) as error:
        approve(folder)
    assert name in str(error.value)
    assert isinstance(error.value, RecordError if name == "record.json" else IntegrityError)
    (folder / name).unlink()
    with pytest.raises(MedganQAError):
        approve(folder)
    assert not (folder / "signatures").exists()


def test_a_record_that_names_files_elsewhere_is_not_signed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    whole = json.loads((folder / "record.json").read_bytes())
    for name in ("../secret", str(tmp_path / "secret"), "link", "./cases.csv", "exhibits", ""):
        (folder / "record.json").write_text(json.dumps({**whole, "files": {name: sha256(b"secret")}}))
        with pytest.raises(IntegrityError):
            approve(folder)


def test_there_must_be_a_record(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RecordError):
            approve(place)


def test_a_key_that_cannot_be_used_signs_nothing(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        approve(folder, key_file=tmp_path / "missing.pem")
    assert not (folder / "signatures").exists()


@pytest.mark.parametrize(
    ("criterion", "how", "right"),
    [
        ("AC-pass", "pass-with-exception", True),
        ("AC-pass", "accepted-failure", False),
        ("AC-fail", "pass-with-exception", False),
        ("AC-fail", "accepted-failure", True),
        ("AC-inconclusive", "pass-with-exception", False),
        ("AC-inconclusive", "accepted-failure", True),
        ("AC-error", "pass-with-exception", False),
        ("AC-error", "accepted-failure", False),
        ("AC-not_applicable", "pass-with-exception", False),
        ("AC-not_applicable", "accepted-failure", False),
        ("AC-mixed", "pass-with-exception", False),
        ("AC-mixed", "accepted-failure", True),
        ("AC-99", "accepted-failure", False),
        ("", "accepted-failure", False),
    ],
)
def test_a_disposition_goes_with_the_verdict(folder: Path, criterion: str, how: str, right: bool) -> None:
    before = (folder / "record.json").read_bytes()
    if right:
        accept(folder, criterion, how)
        assert dispositions(folder)[0].valid
    else:
        with pytest.raises(ConfigurationError):
            accept(folder, criterion, how)
        assert dispositions(folder) == []
    assert (folder / "record.json").read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to the superuser")
def test_a_folder_that_cannot_be_written(folder: Path) -> None:
    folder.chmod(0o500)
    with pytest.raises(OutputError):
        approve(folder)
    folder.chmod(0o700)


def test_a_file_in_the_place_of_the_signatures(folder: Path) -> None:
    (folder / "signatures").write_text("")
    with pytest.raises(OutputError):
        approve(folder)


# Damage


def replace(path: Path, **changes: Any) -> None:
    """Sign something else with the same key, in the same file."""
    inner = json.loads(base64.b64decode(json.loads(path.read_bytes())["payload"]))
    predicate = {**inner["predicate"], **changes}
    subjects = {s["name"]: s["digest"]["sha256"] for s in inner["subject"]}
    subjects |= changes.pop("subjects", {})
    predicate = {k: v for k, v in predicate.items() if k != "subjects"}
    kind = changes.get("kind", inner["predicateType"])
    path.write_bytes(sign_statement(statement(subjects, kind, predicate), signing_key(None, "Ada")))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"record_sha256": "00" * 32}, "another Record"),
        ({"subjects": {"record.json": "00" * 32}}, "another Record"),
        ({"subjects": {"cases.csv": "00" * 32}}, "cases.csv: changed"),
        ({"subjects": {"nothing.csv": "00" * 32}}, "nothing.csv: missing"),
        ({"subjects": {"../record.json": "00" * 32}}, "../record.json: not read"),
        ({"meaning": "review"}, "its name says approval"),
        ({"kind": "urn:medgan-qa:disposition:1"}, "its name says approval"),
        ({"number": 2}, "number 2"),
        ({"previous": "00" * 32}, "the chain is broken"),
        ({"name": 7}, "says nothing of name"),
        ({"time_utc": "yesterday"}, "no time"),
    ],
)
def test_a_signature_that_says_something_else_is_not_valid(folder: Path, changes: dict[str, Any], problem: str) -> None:
    replace(approve(folder), **changes)
    [row] = signatures(folder)
    assert not row.valid
    assert problem in row.problem


def test_a_signature_that_leaves_a_file_out_is_not_valid(folder: Path) -> None:
    path = approve(folder)
    inner = json.loads(base64.b64decode(json.loads(path.read_bytes())["payload"]))
    subjects = {"record.json": inner["predicate"]["record_sha256"]}
    path.write_bytes(
        sign_statement(statement(subjects, inner["predicateType"], inner["predicate"]), signing_key(None, "Ada"))
    )
    assert "does not cover cases.csv" in signatures(folder)[0].problem


@pytest.mark.parametrize("name", ["record.json", "cases.csv"])
def test_what_changes_after_signing_is_seen(folder: Path, name: str) -> None:
    approve(folder)
    text = (folder / name).read_bytes()
    (folder / name).write_bytes(text.replace(b"PAT-001", b"PAT-002"))
    assert not signatures(folder)[0].valid


def test_a_signature_taken_out_of_the_chain_is_missed(folder: Path) -> None:
    for name in ("Ada", "Grace", "Mary"):
        approve(folder, name=name)
    files = sorted((folder / "signatures").iterdir())
    for gone in files[:2]:
        copy = folder.parent / f"without-{gone.name}"
        shutil.copytree(folder, copy)
        (copy / "signatures" / gone.name).unlink()
        assert not all(row.valid for row in signatures(copy))
    # The others cannot close the gap by their names either.
    files[1].unlink()
    files[2].rename(files[1])
    assert [row.valid for row in signatures(folder)] == [True, False]


def test_one_from_another_run_does_not_fit(folder: Path, tmp_path: Path, make_record: MakeRecord) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "record.json").write_text(make_record(suite="synthesis").to_json() + "\n")
    path = approve(other)
    shutil.copytree(other / "signatures", folder / "signatures")
    assert "another Record" in signatures(folder)[0].problem
    assert path.exists()


def test_damage_is_in_the_list_and_the_chain_goes_on(folder: Path) -> None:
    path = approve(folder)
    path.write_bytes(b"\xff not an envelope")
    approve(folder, name="Grace")
    first, second = signatures(folder)
    assert not first.valid
    assert first.name == ""
    assert second.valid
    path.unlink()
    path.symlink_to(folder / "record.json")
    assert "a link" in signatures(folder)[0].problem


# Clocks and company


@pytest.mark.parametrize(
    ("times", "noted"),
    [
        ([FINISHED, LATER], [False, False]),
        ([FINISHED - timedelta(seconds=1)], [True]),
        ([LATER, FINISHED], [False, True]),
        ([LATER, FINISHED, FINISHED + timedelta(minutes=1), LATER], [False, True, True, False]),
    ],
)
def test_a_clock_that_went_backwards_is_noted_and_signs_all_the_same(
    folder: Path, times: list[datetime], noted: list[bool]
) -> None:
    for time in times:
        approve(folder, now=time)
    rows = signatures(folder)
    assert all(row.valid for row in rows)
    assert ["clock" in row.note for row in rows] == noted


def test_many_who_sign_at_once_take_different_numbers(folder: Path) -> None:
    start = threading.Barrier(6)

    def one(number: int) -> None:
        start.wait()
        approve(folder, name=f"Signer {number}")

    threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = signatures(folder)
    assert [row.number for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(row.valid for row in rows)
    assert len({row.name for row in rows}) == 6
