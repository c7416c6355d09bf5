"""The attempt ledger: what is entered stays, what is changed is found, and no run is lost or counted wrongly."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medgan_qa.digests import canonical_json, digest
from medgan_qa.errors import IntegrityError, MedganQAError, OutputError
from medgan_qa.evidence import ledger as ledger_module
from medgan_qa.evidence._ledger_words import _percent
from medgan_qa.evidence.ledger import (
    NOTHING_BEFORE,
    Ledger,
    Line,
    attempts_so_far,
    clock_notes,
    require_attempt_left,
)
from medgan_qa.record import Attempts, Record, Verdict

ROOT = Path(__file__).resolve().parent.parent.parent
MakeRecord = Callable[..., Record]


def facts(**changes: Any) -> dict[str, Any]:
    return {
        "run": "20261103T101200Z-7f3a",
        "suite": "translation",
        "model": "brain T1 to FLAIR",
        "model_sha256": "ab" * 32,
        "criteria_digest": "cc" * 32,
        "data_digest": "dd" * 32,
        "data": "Größe",
        "lock_sha256": None,
        "seed": 7,
        "verdict": Verdict.FAIL,
        "tool_version": "0.1.0",
        **changes,
    }


def enter(path: Path, record_sha256: str = "ee" * 32, maximum: int | None = None, **changes: Any) -> Attempts:
    """One run: what it is told of its attempt, and its line."""
    content = facts(**changes)
    asked = {key: content[key] for key in ("suite", "data_digest", "model_sha256", "criteria_digest", "seed")}
    with Ledger(path, wait_s=20).entry() as entry:
        attempts = entry.attempts(**asked, alpha=0.05, maximum=maximum)
        line = entry.append(record_sha256, **content)
    assert (line.line, line.previous) == (attempts.line, attempts.previous_hash)
    return attempts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger of three runs."""
    path = tmp_path / "ledger.jsonl"
    for seed in (1, 2, 3):
        enter(path, seed=seed)
    return path


def head_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.head.json")


def refused(path: Path) -> IntegrityError:
    """The error of a ledger that is not sound: told by reading and writing alike, and nothing is changed by either."""
    before = {p.name: p.read_bytes() for p in path.parent.iterdir() if p.is_file()}
    with pytest.raises(IntegrityError) as caught:
        Ledger(path).check()
    with pytest.raises(IntegrityError) as again, Ledger(path).entry() as entry:
        entry.append("ee" * 32, **facts())
    assert str(again.value) == str(caught.value)
    assert {p.name: p.read_bytes() for p in path.parent.iterdir() if p.is_file()} == before
    error = caught.value
    assert error.exit_code == 4
    assert all((error.expected, error.found, error.where, error.todo))
    return error


# What is entered


def test_a_line_holds_the_run_and_its_place_in_the_chain(path: Path) -> None:
    first, second, third = Ledger(path).check()
    assert (first.line, second.line, third.line) == (1, 2, 3)
    assert (first.previous, second.previous, third.previous) == (NOTHING_BEFORE, first.hash, second.hash)
    stored = json.loads(path.read_bytes().splitlines()[1])
    assert stored == {
        **facts(seed=2),
        "schema": "medgan-qa/ledger/1",
        "line": 2,
        "previous": first.hash,
        "time_utc": second.time_utc,
        "record_sha256": "ee" * 32,
        "hash": second.hash,
    }
    hash_ = stored.pop("hash")
    assert digest(stored) == hash_
    assert json.loads(head_of(path).read_bytes()) == {
        "schema": "medgan-qa/ledger-head/1",
        "lines": 3,
        "hash": third.hash,
    }
    assert {p.name for p in path.parent.iterdir()} == {"ledger.jsonl", "ledger.jsonl.head.json"}


def test_earlier_lines_keep_their_bytes(path: Path) -> None:
    before = path.read_bytes()
    enter(path)
    assert path.read_bytes().startswith(before)
    assert len(Ledger(path).check()) == 4


def test_a_ledger_that_does_not_exist_is_empty_and_reading_makes_none(tmp_path: Path) -> None:
    path = tmp_path / "a" / "ledger.jsonl"
    assert Ledger(path).check() == []
    assert attempts_so_far(path, "translation", "dd" * 32) == 0
    Ledger(path).require_writable()
    assert list(tmp_path.iterdir()) == []
    enter(path)
    assert len(Ledger(path).check()) == 1


def test_names_of_any_script(tmp_path: Path) -> None:
    path = tmp_path / "Prüfung 検査" / "журнал.jsonl"
    enter(path, data="данные\n\u2028\x00", model="模型")
    attempts = enter(path)
    assert attempts.ledger == path.name
    assert [line.model for line in Ledger(path).check()] == ["模型", "brain T1 to FLAIR"]


def test_a_name_that_is_no_utf8_does_not_stop_the_record(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"run-\xff.jsonl")
    assert json.loads(enter(path).model_dump_json())["ledger"].endswith("run-\\xff.jsonl")


def test_a_link_and_what_it_stands_for_are_one_ledger(path: Path) -> None:
    link = path.parent / "latest"
    link.symlink_to(path)
    assert enter(link).number == 4
    assert enter(path).number == 5
    assert link.is_symlink()


def test_the_facts_of_a_record_make_a_line(path: Path, make_record: MakeRecord) -> None:
    record = make_record(
        run={"id": "r1", "seed": 5},
        subject={"name": "m", "sha256": "ab" * 32},
        data={"name": "d", "digest": "dd" * 32},
        criteria_lock={"digest": "cc" * 32, "lock_sha256": "ff" * 32},
        tool={"version": "0.1.0"},
    )
    with Ledger(path).entry() as entry:
        line = entry.append_run(record, "ee" * 32)
    expected = {"run": "r1", "seed": 5, "model": "m", "data": "d", "lock_sha256": "ff" * 32, "verdict": Verdict.PASS}
    assert {name: getattr(line, name) for name in expected} == expected
    assert Ledger(path).check()[-1] == line


def test_a_record_that_says_little_can_be_entered(tmp_path: Path, make_record: MakeRecord) -> None:
    bare = make_record(run={}, subject={}, data={}, criteria_lock={}, tool={})
    with Ledger(tmp_path / "l").entry() as entry:
        assert entry.append_run(bare, "ee" * 32).model == ""
    assert len(Ledger(tmp_path / "l").check()) == 1


# Exactly once


def test_a_run_that_breaks_before_its_entry_leaves_the_ledger_as_it_was(path: Path) -> None:
    before = path.read_bytes(), head_of(path).read_bytes()
    with pytest.raises(KeyError), Ledger(path).entry():
        raise KeyError("a bug")
    assert (path.read_bytes(), head_of(path).read_bytes()) == before


def test_an_error_of_the_run_itself_is_passed_on_as_it_is(path: Path) -> None:
    with pytest.raises(FileNotFoundError), Ledger(path).entry():
        raise FileNotFoundError("the run's own")


def test_one_entry_a_run(path: Path) -> None:
    with Ledger(path).entry() as entry:
        entry.append("ee" * 32, **facts())
        with pytest.raises(RuntimeError, match="one entry"):
            entry.append("ee" * 32, **facts())
    with pytest.raises(RuntimeError, match="one entry"):
        entry.append("ee" * 32, **facts())
    assert len(Ledger(path).check()) == 4


def test_a_block_without_an_entry_is_a_fault(path: Path) -> None:
    with pytest.raises(RuntimeError, match="not entered"), Ledger(path).entry():
        pass
    assert len(Ledger(path).check()) == 3


def test_facts_of_another_kind_are_not_written(path: Path) -> None:
    for changes in ({"verdict": "good"}, {"seed": 1.5}, {"hash": "0" * 64, "extra": 1}):
        with pytest.raises(ValueError, match="validation error"), Ledger(path).entry() as entry:
            entry.append("ee" * 32, **facts(**changes))
    assert len(Ledger(path).check()) == 3


def test_what_is_stored_is_what_was_understood(path: Path) -> None:
    with Ledger(path).entry() as entry:
        entry.append("ee" * 32, **facts(seed=7.0))
    assert Ledger(path).check()[-1].seed == 7


# Counting attempts


def test_attempts_count_by_data_and_suite(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    assert enter(path).number == 1
    assert enter(path, data_digest="99" * 32).number == 1
    assert enter(path, suite="synthesis").number == 1
    # Other criteria, another model, another seed: still the same data.
    assert enter(path, criteria_digest="88" * 32).number == 2
    assert enter(path, model_sha256="77" * 32).number == 3
    assert enter(path, seed=8).number == 4
    assert attempts_so_far(path, "translation", "dd" * 32) == 4
    assert attempts_so_far(path, "synthesis", "dd" * 32) == 1


def test_a_repeat_is_an_attempt_but_no_further_chance(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    enter(path)
    again = enter(path)
    assert (again.number, again.chances, again.error_rate_bound) == (2, 1, 0.05)
    assert again.statement == (
        "Attempt 2 on this test set (earlier: fail); the same model, criteria and seed each time, which is one test. "
        "It lets a model that does not meet a limit pass with probability at most 5 %."
    )
    other = enter(path, seed=8)
    assert (other.number, other.chances, other.error_rate_bound) == (3, 2, pytest.approx(0.1))


def test_statement_of_several_tests(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    first = enter(path, verdict=Verdict.FAIL)
    assert first.statement == "Attempt 1: no earlier run on this test set is in the ledger."
    assert first.earlier == []
    enter(path, verdict=Verdict.INCONCLUSIVE)
    third = enter(path, model_sha256="77" * 32, maximum=3)
    assert third.statement == (
        "Attempt 3 on this test set (earlier: fail, inconclusive); 2 different tests so far. Each test lets a model "
        "that does not meet a limit pass with probability at most 5 %; over 2 tests the chance of at least one such "
        "pass is at most 10 % (9.8 % if they were independent). The criteria allow 3 attempts."
    )
    assert [(a.number, a.verdict, a.run) for a in third.earlier] == [
        (1, "fail", "20261103T101200Z-7f3a"),
        (2, "inconclusive", "20261103T101200Z-7f3a"),
    ]
    assert third.earlier[0].record_sha256 == "ee" * 32
    assert "beyond the 3 attempts that the criteria allow" in enter(path, maximum=3).statement


def test_many_earlier_runs_are_counted_in_words(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    for seed in range(7):
        last = enter(path, seed=seed, verdict=Verdict.FAIL if seed else Verdict.NOT_APPLICABLE)
    assert "(earlier: 5 fail, 1 not applicable)" in last.statement
    assert "over 7 tests the chance of at least one such pass is at most 35 %" in last.statement


@pytest.mark.parametrize(
    ("share", "text"), [(0.05, "5 %"), (0.0975, "9.8 %"), (1.0, "100 %"), (0.0005, "0.05 %"), (0.2, "20 %")]
)
def test_error_rates_in_words(share: float, text: str) -> None:
    assert _percent(share) == text


def test_no_attempt_is_left_at_the_maximum(path: Path) -> None:
    require_attempt_left(path, "translation", "dd" * 32, None)
    require_attempt_left(path, "translation", "dd" * 32, 4)
    require_attempt_left(path, "synthesis", "dd" * 32, 1)
    with pytest.raises(IntegrityError, match="No attempt") as caught:
        require_attempt_left(path, "translation", "dd" * 32, 3)
    assert caught.value.expected == "at most 3 attempts, as the criteria allow"
    assert str(caught.value.found).startswith("3 runs of the suite translation")


def test_a_clock_that_goes_back_is_told_and_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.jsonl"
    for now in ("2026-11-03T10:00:00Z", "2026-11-03T10:00:00Z", "2026-11-02T23:00:00Z", "2026-11-04T00:00:00Z"):
        monkeypatch.setattr(ledger_module, "_now", lambda now=now: now)
        enter(path)
    lines = Ledger(path).check()
    [note] = clock_notes(lines)
    assert note.startswith("Line 3 of the ledger is dated 2026-11-02T23:00:00Z, before line 2 (2026-11-03T10:00:00Z)")
    assert clock_notes(lines[:2]) == clock_notes([]) == []


# What is changed is found


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    for seed in (1, 2):
        enter(path, seed=seed)
    content, ledger = path.read_bytes(), Ledger(path)
    for place in range(len(content)):
        for mask in (1, 2, 4, 8, 16, 32, 64, 128):
            changed = bytearray(content)
            changed[place] ^= mask
            with pytest.raises(IntegrityError):
                ledger._follow(bytes(changed))
    assert len(ledger._follow(content)[0]) == 2


def test_every_flipped_byte_of_the_head_is_found(path: Path) -> None:
    content, ledger = head_of(path).read_bytes(), Ledger(path)
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 0x01
        head_of(path).write_bytes(changed)
        with pytest.raises(IntegrityError):
            ledger.check()


def test_every_cut_is_found(path: Path) -> None:
    content, ledger = path.read_bytes(), Ledger(path)
    for end in range(len(content)):
        with pytest.raises(IntegrityError):
            ledger._follow(content[:end])


@pytest.mark.parametrize(
    ("change", "problem", "place"),
    [
        (lambda a, b, c: [a, b.replace(b'"seed":2', b'"seed":9'), c], "was edited", "line 2"),
        (lambda a, b, c: [a, b.replace(b'"seed":2', b'"seed": 2'), c], "was edited", "line 2"),
        (lambda a, b, c: [a, b.replace(b'"seed":2', b'"seed":2.0'), c], "was edited", "line 2"),
        (lambda a, b, c: [a, b.replace(b'"seed":2', b'"seed":2,"seed":2'), c], "was edited", "line 2"),
        (lambda a, b, c: [a, b.replace(b'"seed":2', b'"seed":2,"note":""'), c], "cannot be read", "line 2"),
        (lambda a, b, c: [a, b.replace(b"ledger/1", b"ledger/2"), c], "cannot be read", "line 2"),
        (lambda a, b, c: [a, b"\n", b, c], "cannot be read", "line 2"),
        (lambda a, b, c: [a, b"\xff\n", b, c], "cannot be read", "line 2"),
        (lambda a, b, c: [line.replace(b"\n", b"\r\n") for line in (a, b, c)], "was edited", "line 1"),
        (lambda a, b, c: [a, c], "moved, cut or copied", "line 2"),
        (lambda a, b, c: [b, c], "moved, cut or copied", "line 1"),
        (lambda a, b, c: [a, c, b], "moved, cut or copied", "line 2"),
        (lambda a, b, c: [a, b, b, c], "moved, cut or copied", "line 3"),
        (lambda a, b, c: [a, b, c, c], "moved, cut or copied", "line 4"),
        (lambda a, b, c: [a, b], "fewer lines", ""),
        (lambda a, b, c: [a, b, c[:-1]], "fewer lines", ""),
        (lambda a, b, c: [], "fewer lines", ""),
    ],
)
def test_a_change_is_named_with_its_line(
    path: Path, change: Callable[..., list[bytes]], problem: str, place: str
) -> None:
    path.write_bytes(b"".join(change(*path.read_bytes().splitlines(keepends=True))))
    error = refused(path)
    assert problem in error.problem
    assert error.where == (f"{path}, {place}" if place else str(path))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(picks=st.lists(st.integers(0, 3), max_size=6))
def test_prop_only_the_lines_in_their_order_are_sound(path: Path, picks: list[int]) -> None:
    lines = [*path.read_bytes().splitlines(keepends=True), b"{}\n"]
    content = b"".join(lines[pick] for pick in picks)
    if picks == [0, 1, 2]:
        assert len(Ledger(path)._follow(content)[0]) == 3
    else:
        with pytest.raises(IntegrityError):
            Ledger(path)._follow(content)


def rehash(lines: list[dict[str, Any]]) -> bytes:
    """Lines with hashes made anew, as somebody would who knows the format."""
    previous, texts = NOTHING_BEFORE, []
    for line in lines:
        content = {**{k: v for k, v in line.items() if k != "hash"}, "previous": previous}
        previous = digest(content)
        texts.append(canonical_json({**content, "hash": previous}) + b"\n")
    return b"".join(texts)


def test_a_chain_made_anew_does_not_belong_to_the_head(path: Path) -> None:
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    path.write_bytes(rehash([{**lines[0], "verdict": "pass"}, *lines[1:]]))
    assert "another than the one its head belongs to" in refused(path).problem


def test_a_line_put_in_by_hand_does_not_follow(path: Path) -> None:
    first, second, third = path.read_bytes().splitlines(keepends=True)
    forged = {**json.loads(second), "verdict": "pass", "previous": "12" * 32}
    path.write_bytes(first + canonical_json({**forged, "hash": digest({**forged, "hash": None})}) + b"\n" + third)
    assert "was edited" in refused(path).problem
    del forged["hash"]
    path.write_bytes(first + canonical_json({**forged, "hash": digest(forged)}) + b"\n" + third)
    assert "does not follow" in refused(path).problem


def test_a_missing_head_or_ledger_is_found(path: Path) -> None:
    head = head_of(path).read_bytes()
    head_of(path).unlink()
    error = refused(path)
    assert "head of the ledger is missing" in error.problem
    assert "version control" in str(error.todo)
    head_of(path).write_bytes(head)
    path.unlink()
    assert "fewer lines" in refused(path).problem
    assert not path.exists()
    path.touch()
    assert "fewer lines" in refused(path).problem


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"schema":"medgan-qa/ledger-head/1","lines":3}\n'])
def test_a_head_that_cannot_be_read_is_found(path: Path, content: bytes) -> None:
    head_of(path).write_bytes(content)
    error = refused(path)
    assert "head of the ledger cannot be read" in error.problem
    assert error.where == str(head_of(path))


def test_a_head_in_other_bytes_is_found(path: Path) -> None:
    head_of(path).write_bytes(head_of(path).read_bytes().replace(b":", b": "))
    assert "head of the ledger was edited" in refused(path).problem


# Killed runs


def test_a_line_that_the_head_does_not_count_yet_is_sound(path: Path) -> None:
    head = head_of(path).read_bytes()
    enter(path)
    head_of(path).write_bytes(head)
    assert len(Ledger(path).check()) == 4
    # Nothing but a change by hand makes two of them: the next run writes the head before its own line.
    enter(path)
    assert len(Ledger(path).check()) == 5
    head_of(path).write_bytes(head)
    assert "more lines" in refused(path).problem


@pytest.mark.parametrize("part", [b"{", b'{"criteria_digest":"ccc', b"\0" * 50])
@pytest.mark.parametrize("lines", [0, 3])
def test_an_unfinished_line_is_set_aside(tmp_path: Path, part: bytes, lines: int) -> None:
    path = tmp_path / "ledger.jsonl"
    for seed in range(lines):
        enter(path, seed=seed)
    if not lines:  # what a run leaves that is killed within the first line of all
        with pytest.raises(KeyError), Ledger(path).entry():
            raise KeyError
    with path.open("ab") as file:
        file.write(part)
    ledger = Ledger(path)
    assert len(ledger.check()) == lines
    [note] = ledger.notes
    assert f"{len(part)} byte" in note
    assert "sets it aside" in note
    with ledger.entry() as entry:
        entry.append("ee" * 32, **facts())
    [note] = ledger.notes
    assert "was set aside in ledger.jsonl.torn" in note
    assert (tmp_path / "ledger.jsonl.torn").read_bytes() == part + b"\n"
    assert len(ledger.check()) == lines + 1
    assert ledger.notes == []


def test_a_second_unfinished_line_does_not_take_the_place_of_the_first(path: Path) -> None:
    for part in (b"{one", b"{two"):
        with path.open("ab") as file:
            file.write(part)
        enter(path)
    assert path.with_name(f"{path.name}.torn").read_bytes() == b"{one\n{two\n"


PREPARED = """
    import os, signal, sys
    from pathlib import Path
    from medgan_qa.evidence.ledger import Ledger
    path, facts = Path(sys.argv[1]), {facts}
    print("ready", flush=True)
    sys.stdin.readline()
"""
KILLED = """
    with Ledger(path).entry() as entry:
        whole = os.write
        def half(descriptor, content):
            whole(descriptor, content[:len(content) // 2])
            print("held", flush=True)
            sys.stdin.readline()
        if sys.argv[2] == "within the line":
            os.write = half
        else:
            print("held", flush=True)
            sys.stdin.readline()
        entry.append("ee" * 32, **facts)
"""
FIVE = """
    for n in range(5):
        with Ledger(path).entry() as entry:
            entry.append("ee" * 32, **facts | {"seed": n, "run": sys.argv[2]})
"""


@contextmanager
def a_process(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    prepared = PREPARED.replace("{facts}", repr(facts(verdict="fail")))
    command = [sys.executable, "-c", textwrap.dedent(prepared + code), *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize("moment", ["before the line", "within the line"])
def test_a_run_killed_while_it_holds_the_ledger_hinders_no_other(path: Path, moment: str) -> None:
    with a_process(KILLED, str(path), moment) as process:
        assert told(process) == "ready"
        go(process)
        assert told(process) == "held"
        for wait in (Ledger(path, wait_s=0.1).check, lambda: Ledger(path, wait_s=0.1).entry().__enter__()):
            with pytest.raises(OutputError, match="cannot be used") as caught:
                wait()
            assert caught.value.found == "another run has held it for 0.1 s"
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
    assert len(Ledger(path).check()) == 3
    assert enter(path).line == 4
    assert path.with_name(f"{path.name}.torn").exists() == (moment == "within the line")
    assert len(Ledger(path).check()) == 4


def test_runs_at_the_same_time_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with (
        a_process(FIVE, str(path), "a") as a,
        a_process(FIVE, str(path), "b") as b,
        a_process(FIVE, str(path), "c") as c,
        a_process(FIVE, str(path), "d") as d,
    ):
        together = (a, b, c, d)
        assert [told(process) for process in together] == ["ready"] * 4
        for process in together:
            go(process)
        assert [process.wait(timeout=60) for process in together] == [0] * 4
    lines = Ledger(path).check()
    assert sorted((line.run, line.seed) for line in lines) == [(run, n) for run in "abcd" for n in range(5)]
    assert json.loads(head_of(path).read_bytes())["lines"] == 20


def test_the_ledger_loads_no_torch() -> None:
    code = "import sys, medgan_qa.evidence.ledger; print([m for m in ('torch', 'pandas') if m in sys.modules])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


# Places that cannot be written


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """A disk on which no file grows beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_within_a_line_leaves_the_ledger_as_it_was(path: Path) -> None:
    before = path.read_bytes(), head_of(path).read_bytes()
    with files_end_at(len(before[0]) + 100):
        with pytest.raises(OutputError) as caught, Ledger(path).entry() as entry:
            entry.append("ee" * 32, **facts())
        assert "no room left" in str(caught.value.found)
        assert caught.value.exit_code == 2
    assert (path.read_bytes(), head_of(path).read_bytes()) == before
    assert enter(path).line == 4


def test_a_disk_without_room_for_the_head_takes_no_line(path: Path) -> None:
    before = path.read_bytes(), head_of(path).read_bytes()
    with files_end_at(10), pytest.raises(OutputError), Ledger(path).entry() as entry:
        entry.append("ee" * 32, **facts())
    assert (path.read_bytes(), head_of(path).read_bytes()) == before


def test_a_full_disk_is_told_before_the_run(path: Path) -> None:
    with files_end_at(1000), pytest.raises(OutputError, match="cannot be used") as caught:
        Ledger(path).require_writable()
    assert "no room left" in str(caught.value.found)
    Ledger(path).require_writable()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_takes_no_file_is_told_before_the_run(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(OutputError) as caught:
        Ledger(path).require_writable()
    assert caught.value.found == os.strerror(number)
    assert "permissions" in str(caught.value.todo)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_permissions_are_told(path: Path) -> None:
    path.parent.chmod(0o555)
    try:
        with pytest.raises(OutputError, match="cannot be used"):
            Ledger(path).require_writable()
    finally:
        path.parent.chmod(0o755)


def test_a_folder_or_a_place_below_a_file_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for place in (tmp_path / "folder", tmp_path / "file" / "ledger.jsonl"):
        with pytest.raises(OutputError):
            Ledger(place).require_writable()
        with pytest.raises(MedganQAError), Ledger(place).entry() as entry:
            entry.append("ee" * 32, **facts())
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"
    assert list((tmp_path / "folder").iterdir()) == []


def replace_as_version_control_does(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize("write", [replace_as_version_control_does, lambda path: os.truncate(path, 9), Path.unlink])
def test_another_writer_is_noticed(path: Path, write: Callable[[Path], object]) -> None:
    def entered_while_another_writes() -> None:
        with Ledger(path).entry() as entry:
            write(path)
            entry.append("ee" * 32, **facts())

    with pytest.raises(IntegrityError, match="changed while"):
        entered_while_another_writes()
    assert not path.exists() or path.read_bytes().count(b"\n") in (0, 3)


def test_a_line_cannot_be_changed_in_memory(path: Path) -> None:
    line = Ledger(path).check()[0]
    with pytest.raises(ValueError, match="frozen"):
        line.verdict = Verdict.PASS  # type: ignore[misc]
    assert Line.model_validate_json(line.stored()) == line
