"""`medgan-qa gate` and `accept`: arguments, folders, exit codes and what is printed; and the CI files for users."""

from __future__ import annotations

import importlib
import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from medgan_qa.cli import COMMANDS, _run
from medgan_qa.cli.gate_command import load_baseline, request_for
from medgan_qa.digests import file_sha256
from medgan_qa.errors import ConfigurationError, RecordError
from medgan_qa.evidence.folder import read_record, write_manifest
from medgan_qa.evidence.gate import load_run
from medgan_qa.evidence.observations import write_observations
from medgan_qa.evidence.seal import seal_manifest
from medgan_qa.record import AuditResult, Criterion, Measurement, Observations, Record, Sentinel

RATE = "PAT-001.removal_rate"
CI = Path(__file__).resolve().parents[2] / "docs" / "ci"


def seal(stage: Path, templates: Path | None = None) -> list[Path]:
    """What `finish` does, without the report."""
    write_manifest(stage)
    seal_manifest(stage)
    return []


@pytest.fixture(autouse=True)
def _unrendered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("medgan_qa.report.publish.finish", seal)
    monkeypatch.delenv("MEDGAN_QA_LEDGER", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """Write a run's folder with a removal rate: `run("a", [0, 0, 1])`."""

    def write(name: str, lost: Sequence[int], *, margin: float | None = 0.1, **changes: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "cases.csv").write_text("audit,case_id\nPAT-001,c1\n")
        units = [f"c{k + 1}" for k in range(len(lost))]
        write_observations(
            folder,
            {RATE: Observations(statistic="share", units=units, patients=units, values=[float(v) for v in lost])},
        )
        rate = sum(lost) / len(lost)
        measured = Measurement.model_validate(
            {
                "id": RATE,
                "label": "Removed",
                "value": rate,
                "unit": "fraction",
                "n": len(lost),
                "unit_of_analysis": "lesion",
                "better": "lower",
            }
        )
        judged = Criterion.model_validate(
            {
                "id": "AC-01",
                "measurement": RATE,
                "limit": {"max": 0.5},
                "judged_on": "upper",
                "value": rate,
                "verdict": "pass",
                "margin": margin,
                **dict.fromkeys(("reason", "rationale", "hazard", "requirement"), ""),
            }
        )
        audit = AuditResult.model_validate(
            {
                "code": "PAT-001",
                "title": "Removed pathology",
                "question": "Does it?",
                "verdict": "pass",
                "reason": "",
                "parameters": {},
                "seconds": 1.0,
                "measurements": [measured],
                "criteria": [judged],
                "exhibits": [],
                "notes": [],
            }
        )
        facts: dict[str, Any] = {
            "verdict": "pass",
            "reason": "Every criterion passed (AC-01).",
            "suite": "translation",
            "tool": {"name": "medgan-qa", "version": "1"},
            "run": {"id": f"run-{name}", "seed": 7, "command": ["medgan-qa", "audit", "m.pt", "--detector", "d.pt"]},
            "subject": {"name": "brain", "version": name, "sha256": name * 8},
            "data": {"name": "site A", "file": "data/site-a.toml", "digest": "cd" * 32},
            "criteria_lock": {"digest": "ef" * 32, "alpha": 0.05},
            "environment": {},
            "deviations": [],
            "limitations": [],
            "audits": [audit],
            "files": {n: file_sha256(folder / n) for n in ("cases.csv", "observations.csv")},
        }
        record = Record.model_validate({**facts, **changes})
        (folder / "record.json").write_text(record.to_json() + "\n", encoding="utf-8")
        seal(folder)
        return folder

    return write


def invoke(*words: str | Path) -> int:
    arguments = [str(word) for word in words]
    with pytest.MonkeyPatch.context() as patch:
        # The Record holds the command line, and a later gate reads the detector from it.
        patch.setattr("sys.argv", ["medgan-qa", *arguments])
        return _run(arguments, debug=False)


@pytest.mark.parametrize(
    ("before", "after", "code", "verdict"),
    [
        ([0] * 60, [0] * 60, 0, "pass"),
        ([0] * 100, [1] * 30 + [0] * 70, 1, "fail"),
        ([0] * 12, [0] * 12, 3, "inconclusive"),
    ],
)
def test_the_outcome_of_two_folders(
    run: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    before: list[int],
    after: list[int],
    code: int,
    verdict: str,
) -> None:
    baseline, candidate = run("a", before), run("b", after)
    assert invoke("gate", candidate, "--baseline", baseline, "--out", "out", "--modification", "MOD-2") == code
    record = read_record(Path("out"))
    assert record.verdict == verdict
    assert record.comparison is not None
    assert record.comparison.modification["id"] == "MOD-2"
    load_run(Path("out"))
    assert {p.name for p in Path("out").iterdir()} >= {"cases.csv", "observations.csv", "manifest.json", "exhibits"}
    out = capsys.readouterr().out
    assert out.startswith(f"{verdict.upper()}  Modification MOD-2: performance evaluation: ")
    worse = "30.0 %, worse by 30.0 points (17.6 to 40.0" if code == 1 else "0 %, worse by 0 points (-"
    assert f"AC-01 {RATE}: 0 % -> {worse}" in out
    assert f"), margin 10 points: {verdict}\n" in out
    # The numbers stand in the line already; what they do not say stands below it.
    assert "beyond the margin" not in out
    assert ("about 36 patients are needed, 24 more" in out) is (code == 3)
    assert ("Newly worse: 30 of 100 (c1, c2," in out) is (code == 1)
    assert out.endswith("Report: out/report.pdf\n")


def test_a_lost_sentinel_is_printed(run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    def named(verdict: str, found: str) -> list[Sentinel]:
        facts = {"case_id": "c7", "audit": "PAT-001", "found": found, "verdict": verdict, "reason": f"It is {found}."}
        return [Sentinel.model_validate(facts)]

    baseline = run("a", [1] * 20 + [0] * 80, sentinels=named("pass", "kept"))
    candidate = run("b", [0] * 100, sentinels=named("fail", "lost"))
    assert invoke("gate", candidate, "--baseline", baseline) == 1
    out = capsys.readouterr().out
    assert "Sentinel c7 (PAT-001): fail. It is lost. In the baseline: kept." in out
    assert f"AC-01 {RATE}: 20.0 % -> 0 %, worse by -20.0 points (" in out


def test_json_prints_the_comparison(run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    baseline, candidate = run("a", [0] * 60), run("b", [0] * 60)
    assert invoke("gate", candidate, "--baseline", baseline, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(read_record(Path("medgan-qa-runs/b-gate")).to_json())["comparison"]


def test_numbers_stay_out_of_the_terminal_where_the_protocol_withholds_them(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    hidden = {"attempts": {"feedback": "pass_fail"}}
    baseline, candidate = run("a", [0] * 100), run("b", [1] * 37 + [0] * 63, context=hidden)
    for more in ((), ("--json",)):
        assert invoke("gate", candidate, "--baseline", baseline, *more) == 1
        out = capsys.readouterr().out
        assert "fail" in out
        assert "37" not in out
        assert "c12" not in out
        assert "Newly worse" not in out or more
    compared = read_record(Path("medgan-qa-runs/b-gate")).comparison
    assert compared is not None
    assert compared.changes[0].worsened == 37


def test_an_outcome_never_replaces_an_earlier_one(run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    baseline, candidate = run("a", [0] * 100), run("b", [1] * 30 + [0] * 70)
    for name in ("b-gate", "b-gate-2", "b-gate-3"):
        assert invoke("gate", candidate, "--baseline", baseline) == 1
        assert (Path("medgan-qa-runs") / name / "record.json").is_file()
    before = file_sha256(Path("medgan-qa-runs/b-gate/record.json"))
    assert invoke("gate", candidate, "--baseline", baseline, "--out", "medgan-qa-runs/b-gate") == 2
    assert "never replaces an earlier one" in capsys.readouterr().err
    assert file_sha256(Path("medgan-qa-runs/b-gate/record.json")) == before


def test_a_difference_is_refused_with_4_and_can_be_allowed(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    baseline, candidate = run("a", [0] * 60), run("b", [0] * 60, data={"digest": "99" * 32})
    assert invoke("gate", candidate, "--baseline", baseline, "--out", "out") == 4
    assert "data: baseline cdcd" in capsys.readouterr().err
    assert not Path("out").exists()
    assert invoke("gate", candidate, "--baseline", baseline, "--out", "out", "--allow", "data=new scans=yes") == 0
    assert "; allowed: new scans=yes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--allow", "data"], "KIND=REASON"),
        (["--allow", "seed=a", "--allow", "seed=b"], "once each"),
        (["--allow", "seed=because"], "there is none"),
        (["--data", "x.toml"], "--data says how a model is run"),
        (["--device", "cpu"], "--device says how a model is run"),
        (["--out", "a/inside"], "cannot lie in a run that is compared"),
        (["--out", "b"], "not empty"),
    ],
)
def test_usage_errors(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    baseline, candidate = run("a", [0] * 60), run("b", [0] * 60)
    assert invoke("gate", candidate, "--baseline", baseline, *words) == 2
    assert said in capsys.readouterr().err
    assert not Path("medgan-qa-runs").exists()


def test_a_changed_file_is_an_integrity_error(run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    baseline, candidate = run("a", [0] * 60), run("b", [0] * 60)
    (baseline / "observations.csv").write_text("edited\n")
    assert invoke("gate", candidate, "--baseline", baseline) == 4
    assert "observations.csv" in capsys.readouterr().err


# Accepted baselines


def test_accept_then_gate_by_name(run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    baseline, candidate = run("a", [0] * 60), run("b", [0] * 60)
    assert invoke("accept", baseline, "--name", "brain", "--reason", "release 1", "--by", "A. Reviewer") == 0
    assert capsys.readouterr().out == "medgan-qa-baselines/brain/0001\n"
    assert invoke("gate", candidate, "--baseline", "brain", "--out", "out") == 0
    comparison = read_record(Path("out")).comparison
    assert comparison is not None
    accepted = comparison.baseline["accepted"]
    assert {key: accepted[key] for key in ("name", "number", "by", "reason")} == {
        "name": "brain",
        "number": 1,
        "by": "A. Reviewer",
        "reason": "release 1",
    }
    # The outcome takes the baseline's place, and the next candidate is held against it.
    assert invoke("accept", "out", "--name", "brain", "--reason", "release 2", "--by", "") == 0
    assert load_baseline("brain", Path("medgan-qa-baselines")).record.comparison == comparison
    capsys.readouterr()
    assert invoke("accept", "--name", "brain", "--history") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[::2]] == ["0001", "0002"]
    assert lines[0].endswith("brain a  pass by A. Reviewer: release 1")
    assert lines[2].endswith("brain b  pass: release 2")
    (Path("medgan-qa-baselines") / "brain" / "0002" / "record.json").write_text("{}")
    assert invoke("gate", candidate, "--baseline", "brain") == 4


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--name", "brain"], 2),
        (["a", "--name", "brain", "--history"], 2),
        (["a", "--name", "brain"], 2),
        (["a", "--name", "../brain", "--reason", "x"], 2),
        (["a", "--name", "brain", "--reason", "x", "--allow-failed", "y"], 2),
        (["--name", "heart", "--history"], 2),
        (["c", "--name", "brain", "--reason", "x"], 2),
    ],
)
def test_what_is_not_accepted(run: Callable[..., Path], words: list[str], code: int) -> None:
    run("a", [0] * 60)
    run("c", [0] * 60, verdict="fail")
    assert invoke("accept", *words) == code
    assert not Path("medgan-qa-baselines").exists()


def test_a_baseline_that_is_nowhere(run: Callable[..., Path]) -> None:
    with pytest.raises(ConfigurationError, match="No baseline is called 'brain'"):
        load_baseline("brain", Path("medgan-qa-baselines"))
    with pytest.raises(RecordError):
        load_baseline("runs/brain", Path("medgan-qa-baselines"))


# A model as the candidate


def test_a_model_is_run_as_the_baseline_was(run: Callable[..., Path], tmp_path: Path) -> None:
    lock = tmp_path / "vp.lock.json"
    lock.write_text("{}")
    original = tmp_path / "vp.toml"
    original.write_text("schema = 1\n")
    facts = {"digest": "ef" * 32, "file": str(original), "lock_file": str(lock), "lock_sha256": file_sha256(lock)}
    folder = run(
        "a",
        [0] * 60,
        criteria_lock=facts,
        suite="synthesis",
        run={
            "seed": 7,
            "samples": 500,
            "extractors": [{"name": "radiomic"}, {"name": "pixels"}],
            "command": ["medgan-qa", "audit", "m.pt", "--detector=d.pt"],
        },
    )
    (folder / "criteria.toml").write_text("schema = 1\n")
    baseline = load_run(folder)
    found = request_for("m.pt", baseline, Path("out"), {}, None)
    assert (found.model, found.suite, found.data, found.seed) == ("m.pt", "synthesis", "data/site-a.toml", 7)
    assert (found.criteria, found.lock, found.detector) == (original, lock, "d.pt")
    assert (found.samples, found.extractors, found.device) == (500, ("radiomic", "pixels"), "auto")

    # The original moved on: the copy in the baseline's folder counts, and no lock that is another.
    original.write_text("schema = 2\n")
    lock.write_text("[]")
    found = request_for("m.pt", baseline, Path("out"), {}, None)
    assert (found.criteria, found.lock) == (folder / "criteria.toml", None)

    given = {"data": "d.toml", "criteria": Path("c.toml"), "detector": "e.pt", "device": "cpu", "discriminator": "f.pt"}
    found = request_for("m.pt", baseline, Path("out"), given, Path("templates"))
    assert (found.data, found.criteria, found.detector) == ("d.toml", Path("c.toml"), "e.pt")
    assert (found.device, found.discriminator, found.templates) == ("cpu", "f.pt", Path("templates"))


def test_phantoms_and_default_criteria_stay_what_they_were(run: Callable[..., Path]) -> None:
    folder = run("a", [0] * 60, run={"seed": 7, "data": "phantom:brain"})
    found = request_for("m.pt", load_run(folder), Path("out"), {}, None)
    assert (found.data, found.criteria, found.detector, found.samples) == ("phantom:brain", None, None, None)


def test_two_models_from_audit_to_gate(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    criteria = Path("criteria.toml")
    criteria.write_text(
        'schema = "medgan-qa/criteria/1"\n[context]\nsuite = "translation"\n[[criterion]]\nid = "AC-01"\n'
        f'measurement = "{RATE}"\nlimit = {{max = 0.15}}\njudged_on = "upper"\nmargin = 0.15\n'
    )
    where = ("--criteria", criteria, "--data", workshop / "data.toml", "--detector", workshop / "detector.pt")
    assert invoke("audit", workshop / "faithful.pt", *where, "--out", "first") == 0
    assert invoke("accept", "first", "--name", "brain", "--reason", "release") == 0
    capsys.readouterr()
    assert invoke("gate", workshop / "eraser.pt", "--baseline", "brain", "--out", "second") == 1
    out = capsys.readouterr().out
    assert out.startswith("FAIL  Comparison with the accepted model: not met.\n")
    assert "Newly worse: 32 of 32 (p00-0/1, " in out
    own, outcome = load_run(Path("second-run")), load_run(Path("second"))
    assert outcome.record.comparison is not None
    assert outcome.record.comparison.candidate["record_sha256"] == own.sha256
    assert invoke("gate", workshop / "faithful.pt", "--baseline", "brain") == 0
    assert "No change: candidate and baseline are the same bytes." in capsys.readouterr().out


# docs/ci


def scripts(node: Any) -> Iterator[str]:
    """Every shell line in a CI file."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("run", "script", "before_script", "after_script"):
                yield from "\n".join([value] if isinstance(value, str) else value).splitlines()
            else:
                yield from scripts(value)
    elif isinstance(node, list):
        for item in node:
            yield from scripts(item)


def commands(lines: Iterator[str]) -> list[list[str]]:
    """The words of every call of medgan-qa."""
    found = []
    for line in lines:
        words = shlex.split(line)
        found += [words[k + 1 :] for k, word in enumerate(words) if word == "medgan-qa"]
    return found


@pytest.mark.parametrize("name", ["github-workflow.yml", "gitlab-ci.yml"])
def test_every_command_of_the_ci_files_is_one_of_ours(name: str) -> None:
    content = yaml.safe_load((CI / name).read_text(encoding="utf-8"))
    called = commands(scripts(content))
    assert {words[0] for words in called} == {"gate", "verify"}
    for first, *rest in called:
        assert first in COMMANDS
        command = importlib.import_module(f"medgan_qa.cli.{first}_command").command
        context = command.make_context(first, rest)
        assert context.params
    [gate] = [words for words in called if words[0] == "gate"]
    assert gate[gate.index("--out") + 1] == "gate"
    # Every variable that a command uses is declared.
    declared = content.get("env") or content.get("variables")
    assert {word.removeprefix("$") for word in gate if word.startswith("$")} <= set(declared)


def test_the_ci_files_keep_a_failed_gate() -> None:
    github = yaml.safe_load((CI / "github-workflow.yml").read_text(encoding="utf-8"))
    steps = {step.get("name", step.get("uses")): step for step in github["jobs"]["gate"]["steps"]}
    after = list(steps)[list(steps).index("Gate") + 1 :]
    assert all("always()" in steps[name]["if"] for name in after)
    assert "gate" in steps["Keep the record"]["with"]["path"].split()
    assert "$GITHUB_STEP_SUMMARY" in steps["Summary"]["run"]
    assert steps["JUnit report"]["with"]["files"] == "gate/junit.xml"
    job = yaml.safe_load((CI / "gitlab-ci.yml").read_text(encoding="utf-8"))["model-gate"]
    assert job["artifacts"]["when"] == "always"
    assert job["artifacts"]["reports"]["junit"] == "gate/junit.xml"
    assert "gate" in job["artifacts"]["paths"]
