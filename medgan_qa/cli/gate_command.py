"""`medgan-qa gate`: a retrained model against the accepted one, on the same cases."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from medgan_qa.cli._sealing import announce_keys
from medgan_qa.cli.options import debug_option, ledger_option, templates_option
from medgan_qa.errors import ConfigurationError, OutputError

if TYPE_CHECKING:
    from medgan_qa.cli._running import Request
    from medgan_qa.evidence.gate import Run
    from medgan_qa.record import Change, Comparison, Record, Sentinel

Judged = TypeVar("Judged", "Change", "Sentinel")

REGISTRY = Path("medgan-qa-baselines")
FOR_MODELS = ("data", "criteria", "detector", "discriminator", "device", "weights", "trust", "loader")
"""Options that say how a candidate is run; a candidate that was run already has them behind it."""


@click.command("gate")
@click.argument("candidate")
@click.option("--baseline", required=True, help="The accepted run: its folder, or the name of an accepted baseline.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the outcome [medgan-qa-runs/NAME-gate].")
@click.option(
    "--allow",
    multiple=True,
    metavar="KIND=REASON",
    help="Compare although data, criteria, suite, tool, parameters, options, seed or detector differ; may be repeated.",
)
@click.option("--modification", default="", help="Identifier of the modification that is tested [the criteria's].")
@click.option(
    "--registry", type=click.Path(path_type=Path), default=REGISTRY, show_default=True, help="Accepted baselines."
)
@click.option("--data", help="A model's data: dataset file (.toml) or its folder [the baseline's].")
@click.option("--criteria", type=click.Path(path_type=Path), help="A model's criteria file [the baseline's].")
@click.option("--detector", help="A model's detector: FILE or reference:NAME [the baseline's].")
@click.option("--discriminator", help="A sampler's discriminator, for membership inference.")
@click.option("--weights", type=click.Path(path_type=Path), help="File of weights for a model made by your own code.")
@click.option("--trust", is_flag=True, default=None, help="Run models in this process, without protection from them.")
@click.option("--loader", metavar="PACKAGE.MODULE:BUILD", help="The data loader of the training [the baseline's].")
@click.option("--device", help="Where a model is run: cpu, cuda, cuda:N, or auto [auto].")
@ledger_option
@templates_option
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON on stdout.")
@debug_option
def command(
    candidate: str,
    baseline: str,
    out: Path | None,
    allow: tuple[str, ...],
    modification: str,
    registry: Path,
    templates: Path | None,
    as_json: bool,
    **given: Any,
) -> int:
    """Hold CANDIDATE against the accepted run and write the outcome, passed or failed.

    CANDIDATE is the folder of a finished run, or a model (FILE or reference:NAME), which is then run as the baseline
    was. Nothing but exit code 0 opens the gate.
    """
    from medgan_qa.cli._showing import EXIT_CODES, printable
    from medgan_qa.evidence.gate import compare, load_run

    allowed = _allowed(allow)
    accepted = load_baseline(baseline, registry)
    place = _place(out, candidate)
    _require_apart(place, [Path(candidate), accepted.folder])
    folder = Path(candidate)
    if folder.is_dir():
        _require_for_models(given)
    else:
        folder = run_candidate(candidate, accepted, place.with_name(f"{place.name}-run"), given, templates)
    run = load_run(folder)
    comparison = compare(run, accepted, allowed=allowed, modification=modification)
    record = _write(place, run, accepted, comparison, templates)
    shown = printable(record)
    if as_json and shown.comparison is not None:
        click.echo(shown.comparison.model_dump_json(indent=2))
    else:
        show(shown, place)
    return EXIT_CODES[record.verdict]


def _allowed(texts: Iterable[str]) -> dict[str, str]:
    allowed: dict[str, str] = {}
    for text in texts:
        kind, equals, reason = text.partition("=")
        if not equals or kind in allowed:
            raise ConfigurationError(
                "A difference is allowed by its kind and a reason, once each.",
                expected="KIND=REASON, e.g. data='two cases were withdrawn'",
                found=text,
                where="--allow",
                todo="Write --allow KIND=REASON.",
            )
        allowed[kind] = reason
    return allowed


def load_baseline(baseline: str, registry: Path) -> Run:
    """The run that a candidate is held against: a run's folder, or else the newest accepted one of that name.

    Raises:
        ConfigurationError: neither a folder nor a name in the registry.
        IntegrityError: what was accepted is not what lies there.
    """
    from medgan_qa.evidence.baselines import NAME, current
    from medgan_qa.evidence.gate import load_run

    if (Path(baseline) / "record.json").exists() or not NAME.fullmatch(baseline):
        return load_run(Path(baseline))
    folder, line = current(registry, baseline)
    return load_run(folder, {"name": baseline, **{key: line[key] for key in ("number", "time_utc", "by", "reason")}})


def _place(out: Path | None, candidate: str) -> Path:
    """Where the outcome goes. An earlier outcome is a record of its own and is never replaced."""
    if out is None:
        from medgan_qa.cli._running import stem

        first = Path("medgan-qa-runs") / f"{stem(Path(candidate).name if Path(candidate).is_dir() else candidate)}-gate"
        names = (first if n == 1 else first.with_name(f"{first.name}-{n}") for n in range(1, 10_000))
        return next(path for path in names if not path.exists())
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(
            "The folder for the outcome is not empty.",
            expected="a folder that does not exist or is empty",
            found=f"{out} holds something; the outcome of a gate never replaces an earlier one",
            where="--out",
            todo="Choose another --out.",
        )
    return out


def _require_apart(place: Path, runs: Iterable[Path]) -> None:
    for run in runs:
        if run.is_dir() and place.resolve().is_relative_to(run.resolve()):
            raise ConfigurationError(
                "The outcome cannot lie in a run that is compared.",
                expected="a folder of its own",
                found=str(place),
                where="--out",
                todo="Choose another --out.",
            )


def _require_for_models(given: Mapping[str, Any]) -> None:
    idle = [f"--{name}" for name in FOR_MODELS if given.get(name) is not None]
    if idle:
        raise ConfigurationError(
            f"{idle[0]} says how a model is run, and the candidate was run already.",
            expected="no such option with a run's folder",
            found=", ".join(idle),
            where=idle[0],
            todo="Leave it out, or name a model.",
        )


def run_candidate(model: str, baseline: Run, out: Path, given: Mapping[str, Any], templates: Path | None) -> Path:
    """Run a model as the baseline was run, and return the folder of that run."""
    from medgan_qa.cli._running import audit

    return audit(request_for(model, baseline, out, given, templates))[1]


def request_for(model: str, baseline: Run, out: Path, given: Mapping[str, Any], templates: Path | None) -> Request:
    """What makes a model's run like the baseline's: suite, data, criteria, detector, seed and options."""
    from medgan_qa.cli._running import Request
    from medgan_qa.evidence.whereabouts import recall
    from medgan_qa.suites import suite

    record = baseline.record
    noted = recall(str(record.run.get("id") or ""))
    optional = {audit.code for audit in suite(record.suite).optional}
    return Request(
        model=model,
        out=out,
        suite=record.suite,
        data=given.get("data") or noted.get("data") or _data(record),
        criteria=given.get("criteria") or _criteria(baseline, noted.get("criteria")),
        lock=None if given.get("criteria") else _lock(record, noted.get("lock")),
        detector=given.get("detector") or noted.get("detector") or _recorded(record, "--detector"),
        seed=record.run.get("seed"),
        device=given.get("device") or "auto",
        ledger=given.get("ledger"),
        templates=templates,
        samples=record.run.get("samples"),
        extractors=tuple(extractor["name"] for extractor in record.run.get("extractors", ())),
        discriminator=given.get("discriminator"),
        weights=given.get("weights"),
        trust=bool(given.get("trust")),
        loader=given.get("loader") or _recorded(record, "--loader"),
        also=tuple(audit.code for audit in record.audits if audit.code in optional),
        debug="--debug" in sys.argv,
    )


def _data(record: Record) -> str:
    """The dataset's file, or the name of embedded phantoms, as the baseline's Record has it."""
    return str(record.run.get("data") or record.data.get("file") or "")


def _criteria(baseline: Run, noted: str | None = None) -> Path | None:
    """The criteria file where it still says the same, else the copy in the baseline's folder.

    What a criteria file names (a training manifest, its lock) lies beside the original.
    """
    lock, copy = baseline.record.criteria_lock, baseline.folder / "criteria.toml"
    if not copy.is_file():
        return None
    original = Path(noted or str(lock.get("file") or ""))
    same = original.is_file() and original.read_bytes() == copy.read_bytes()
    return original if same else copy


def _lock(record: Record, noted: str | None = None) -> Path | None:
    """The lock that the baseline was run under, where it still lies there."""
    from medgan_qa.digests import file_sha256

    path = Path(noted or str(record.criteria_lock.get("lock_file") or ""))
    same = path.is_file() and file_sha256(path) == record.criteria_lock.get("lock_sha256")
    return path if same else None


def _recorded(record: Record, option: str) -> str | None:
    """The value of an option in the command line that the baseline was run with."""
    words = [str(word) for word in record.run.get("command", ())]
    joined = [word.partition("=")[2] for word in words if word.startswith(f"{option}=")]
    apart = [following for word, following in pairwise(words) if word == option]
    return next(iter([*joined, *apart]), None)


def _write(place: Path, candidate: Run, baseline: Run, comparison: Comparison, templates: Path | None) -> Record:
    from medgan_qa.evidence.folder import staged
    from medgan_qa.evidence.gate import write_gate
    from medgan_qa.report.publish import finish

    announce_keys()
    with staged(place) as stage:
        record = write_gate(stage, candidate, baseline, comparison)
        finish(stage, templates)
    return record


def show(record: Record, place: Path) -> None:
    """The outcome on stdout: verdict, one line a criterion, sentinels that were not kept, and where the report is."""
    from medgan_qa.evidence.gate import headline
    from medgan_qa.quantities import plain

    comparison = record.comparison
    assert comparison is not None
    head = headline(record)
    lines = [f"{record.verdict.upper()}  {head}"]
    open_ = [*_not_passed(comparison.changes), *_not_passed(comparison.sentinels)]
    if comparison.identical or not open_:
        # Otherwise the reason says what the lines below say.
        lines.append(comparison.reason.removeprefix(head).strip())
    lines.append(record.reason.removeprefix(comparison.reason).strip())
    for change in comparison.changes:
        lines += _change(change)
    for sentinel in _not_passed(comparison.sentinels):
        lines.append(f"Sentinel {sentinel.case_id} ({sentinel.audit}): {sentinel.verdict}. {sentinel.reason}")
    lines += [f"Allowed: {text}" for text in comparison.allowed]
    click.echo(plain("\n".join(lines)))
    click.echo(f"Report: {place / 'report.pdf'}")


def _not_passed(parts: Iterable[Judged]) -> list[Judged]:
    return [part for part in parts if part.verdict not in ("pass", "not_applicable")]


def _change(change: Change) -> list[str]:
    """A criterion with its numbers; below it what they do not say, and the units that got worse."""
    from medgan_qa.evidence._changed_units import told

    verdict = "reported" if change.verdict == "not_applicable" else change.verdict
    numbers = _numbers(change)
    is_told = change.verdict == "pass" or (bool(numbers) and change.verdict in ("fail", "not_applicable"))
    below = [text for text in ("" if is_told else change.reason, told(change) if change.worsened else "") if text]
    line = f"{change.criterion} {change.measurement}: {numbers}{verdict}"
    return [line, f"  {' '.join(below)}"] if below else [line]


def _numbers(change: Change) -> str:
    from medgan_qa.quantities import declared, of_difference, short, with_interval

    if change.worsening is None and change.baseline is None and change.candidate is None:
        return ""
    unit, limits = of_difference(change.unit), [] if change.margin is None else [change.margin]
    before, after = (with_interval(value, None, change.unit) for value in (change.baseline, change.candidate))
    margin = "" if change.margin is None else f", margin {declared(change.margin, unit)}"
    worse = f"worse by {with_interval(change.worsening, change.interval, unit, limits)}"
    return short(f"{before} -> {after}, {worse}{margin}: ")
