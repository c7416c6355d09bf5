"""One audit from its arguments to a folder, for every command that runs one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medgan_qa.cli._sealing import announce_keys
from medgan_qa.cli.options import progress_bar
from medgan_qa.errors import ConfigurationError

if TYPE_CHECKING:
    from medgan_qa.cohorts.cohort import Cohort
    from medgan_qa.criteria import Criteria
    from medgan_qa.record import Record
    from medgan_qa.runner import RunResult
    from medgan_qa.subjects.protocols import Subject
    from medgan_qa.suites import Suite

CONTROL = "control:"
"""Prefix of a control's name on the command line."""
LEDGER = "medgan-qa-ledger.jsonl"
"""The attempt ledger's name where none is given."""


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    model: str
    out: Path | None = None
    suite: str | None = None
    data: str | None = None
    criteria: Path | None = None
    lock: Path | None = None
    detector: str | None = None
    seed: int | None = None
    device: str = "auto"
    ledger: Path | None = None
    templates: Path | None = None
    document: Mapping[str, str] = field(default_factory=dict)
    samples: int | None = None
    extractors: tuple[str, ...] = ()
    discriminator: str | None = None
    experts: Path | None = None
    comparator: str | None = None
    weights: Path | None = None
    trust: bool = False
    loader: str | None = None
    cache: bool = True
    also: tuple[str, ...] = ()
    debug: bool = False


@dataclass(frozen=True)
class Fixed:
    """What was fixed before the run: suite, criteria, their files, the lock, and where the run will lie."""

    out: Path
    suite: Suite
    criteria: Criteria
    data: str
    files: dict[str, bytes]
    lock: Path | None


def fix(request: Request) -> Fixed:
    """Read criteria, suite and lock.

    Raises:
        ConfigurationError: they cannot be read, or no suite is named.
    """
    from medgan_qa.criteria import read_criteria
    from medgan_qa.digests import canonical_json
    from medgan_qa.evidence.lock import find_lock, read_lock
    from medgan_qa.suites import extended
    from medgan_qa.suites import suite as read_suite

    place, data, name = request.criteria, request.data, request.suite
    lock = request.lock or (find_lock(place) if place else None)
    if lock is not None:
        fixed = read_lock(lock)
        place = place or lock.parent / fixed.criteria.file
        data = data or fixed.data.path(lock.parent)
        name = name or fixed.suite
    criteria = read_criteria(place) if place else None
    name = name or (criteria.suite if criteria else None)
    if name is None:
        raise ConfigurationError(
            "No suite is named.",
            expected="--suite NAME, or criteria with [context] suite",
            found="neither",
            where="--suite",
            todo="`medgan-qa list suites` shows what there is.",
        )
    suite = read_suite(name)
    chosen = criteria or suite.criteria
    suite = extended(suite, chosen, request.also)
    files = {"criteria.json": canonical_json(chosen.content())}
    if chosen.text:
        files["criteria.toml"] = chosen.text.encode()
    if lock is not None:
        files["criteria.lock.json"] = lock.read_bytes()
    out = request.out or Path("medgan-qa-runs") / f"{stem(request.model)}-{suite.name}"
    return Fixed(out, suite, chosen, data or suite.phantom, files, lock)


def stem(model: str) -> str:
    """A name for a folder, after the model."""
    return Path(model.removeprefix("reference:").removeprefix(CONTROL)).name.split(".")[0] or "model"


def the_model(argument: str | None, option: str | None) -> str:
    """The model, named as an argument or as an option.

    Raises:
        ConfigurationError: it is named in neither place, or in both.
    """
    given = [name for name in (argument, option) if name]
    if len(given) != 1:
        raise ConfigurationError(
            "The model is named twice." if given else "No model is named.",
            expected="one model: a file, package.module:build, reference:NAME or control:NAME",
            found=" and ".join(given) or "none",
            where="MODEL or --model",
            todo="Name it once.",
        )
    return given[0]


def document(identifier: str | None, revision: str | None) -> dict[str, str]:
    """The report as a controlled document, as far as it was named."""
    return {key: text for key, text in (("id", identifier), ("revision", revision)) if text}


def audit(request: Request) -> tuple[Record, Path]:
    """Run an audit and leave its folder: Record, report, exports, all sealed; its line stands in the ledger.

    Returns:
        The Record, and the folder.

    Raises:
        MedganQAError: as every step says; nothing is left in the folder's place then.
    """
    from medgan_qa.evidence.folder import require_writable, staged
    from medgan_qa.evidence.ledger import Ledger
    from medgan_qa.report import require_renderer
    from medgan_qa.report.publish import finish

    fixed = fix(request)
    require_writable(fixed.out)
    Ledger(ledger_path(request, fixed)).require_writable()
    require_renderer()
    announce_keys()
    with progress_bar() as progress:
        result = run(request, fixed, progress)
        progress("Writing the report", 0, 1)
        with staged(fixed.out) as stage:
            record = enter(stage, result, request, fixed)
            finish(stage, request.templates)
        progress("Writing the report", 1, 1)
    return record, fixed.out


def run(request: Request, fixed: Fixed, progress: Any) -> RunResult:
    """Load model and data, hold them against the lock, and run the suite.

    Raises:
        IntegrityError: something changed since the lock, or no attempt is left.
    """
    from medgan_qa.engines import LocalEngine
    from medgan_qa.evidence.ledger import require_attempt_left
    from medgan_qa.evidence.provenance import command_line, environment
    from medgan_qa.runner import Setting, run_audit

    suite, criteria = fixed.suite, fixed.criteria
    _begin_models(request)
    options = _options(suite, request)
    cohort = read_cohort(fixed.data)
    context = _context(request, fixed, cohort)
    facts, notes = _held_against(fixed, cohort)
    require_attempt_left(ledger_path(request, fixed), suite.name, cohort.digest(), criteria.attempts_max)
    subject = _subject(request, cohort, suite)
    reader = _detector(request, suite)
    result = run_audit(
        subject,
        cohort,
        suite,
        criteria,
        detector=reader,
        engine=LocalEngine(progress),
        seed=_seed(request, criteria),
        setting=Setting(
            command=command_line(["medgan-qa", *sys.argv[1:]]),
            environment=environment(subject.device),
            lock=facts,
            notes=notes,
            data=command_line([fixed.data])[0],
            document=request.document,
        ),
        options=options,
        context=context,
    )
    if result.exception is not None and request.debug:
        raise result.exception
    return result


def enter(stage: Path, result: RunResult, request: Request, fixed: Fixed) -> Record:
    """Write the evidence and the Record into a staged folder, and the run into the ledger."""
    from medgan_qa.evidence.folder import write_evidence, write_record
    from medgan_qa.evidence.ledger import Ledger
    from medgan_qa.evidence.whereabouts import remember

    record = result.record.model_copy(update={"files": write_evidence(stage, result, fixed.files)})
    lock, path = record.criteria_lock, ledger_path(request, fixed)
    ledger = Ledger(path)
    with ledger.entry() as entry:
        attempts = entry.attempts(
            suite=record.suite,
            data_digest=record.data["digest"],
            model_sha256=record.subject["sha256"],
            criteria_digest=lock["digest"],
            seed=record.run["seed"],
            alpha=lock["alpha"],
            maximum=fixed.criteria.attempts_max,
        )
        record = record.model_copy(update={"attempts": attempts})
        entry.append_run(record, write_record(stage, record))
    # For a gate: the Record holds names of files alone.
    paths = {"data": fixed.data, "criteria": fixed.criteria.file, "lock": fixed.lock, "detector": request.detector}
    remember(record.run["id"], paths)
    for note in ledger.notes:
        click.echo(note, err=True)
    return record


def ledger_path(request: Request, fixed: Fixed) -> Path:
    """The ledger: as given, else beside the lock, else beside the run's folder."""
    beside = fixed.lock or fixed.out
    return request.ledger or beside.resolve().parent / LEDGER


def _held_against(fixed: Fixed, cohort: Cohort) -> tuple[dict[str, Any], list[str]]:
    if fixed.lock is None:
        return {}, []
    from medgan_qa import __version__
    from medgan_qa.evidence.lock import check_lock, read_lock

    state = check_lock(read_lock(fixed.lock), fixed.criteria, cohort, fixed.suite.name, __version__)
    return dict(state.facts), list(state.notes)


def _seed(request: Request, criteria: Criteria) -> int:
    return next(seed for seed in (request.seed, criteria.seed, 0) if seed is not None)


def _begin_models(request: Request) -> None:
    """Have the process that models' processes come from started while the data is read, if it will be needed."""
    from medgan_qa.subjects.stored import is_dataset

    if request.trust or request.model.startswith(CONTROL) or is_dataset(request.model):
        return
    from medgan_qa.subjects.isolation.client import server

    server()


def _context(request: Request, fixed: Fixed, cohort: Cohort) -> dict[str, Any]:
    """What audits may use beside model and data: what the ledger shows of these data, and the team's own loader.

    Raises:
        IntegrityError: the ledger is not sound.
        MedganQAError: the loader cannot be used.
    """
    from medgan_qa.evidence.history import history_of
    from medgan_qa.evidence.ledger import Ledger

    context: dict[str, Any] = {"history": history_of(Ledger(ledger_path(request, fixed)), cohort.digest(), cohort.name)}
    if request.loader is not None:
        from medgan_qa.cohorts.loaders import load_loader

        context["loader"] = load_loader(request.loader)
    return context


def _subject(request: Request, cohort: Cohort, suite: Suite) -> Subject:
    from medgan_qa.subjects.stored import is_dataset, read_stored_set

    model = request.model
    ours = model.startswith(CONTROL)
    if ours or is_dataset(model):
        _require_no_flags(request, "a planted control" if ours else "a set of images")
    if ours:
        from medgan_qa.controls.named import control_subject

        return control_subject(model.removeprefix(CONTROL), suite.name, cohort)
    if is_dataset(model):
        return read_stored_set(Path(model))
    from medgan_qa.subjects.load import load_subject

    return load_subject(model, request.device, weights=request.weights, trust=request.trust)


def _require_no_flags(request: Request, what: str) -> None:
    if request.weights is not None:
        raise ConfigurationError(
            "Weights belong to a model that is made by code.",
            expected="--weights with package.module:build only",
            found=f"--weights with {what}",
            where="--weights",
            todo="Leave it out.",
        )


OWNERS = {
    "--samples": ("synthesis", "augmentation"),
    "--extractor": ("synthesis", "augmentation"),
    "--discriminator": ("synthesis",),
    "--experts": ("augmentation",),
    "--comparator": ("discriminator",),
}
"""Suites that a flag is for."""


def _options(suite: Suite, request: Request) -> dict[str, Any]:
    """What the suite's run takes beside model, data and detector.

    Raises:
        ConfigurationError: a flag of another suite, or an expert reading that cannot be read.
        ModelError: a companion that cannot be loaded.
    """
    from medgan_qa.subjects.load import load_subject

    given = {
        "--samples": request.samples,
        "--extractor": request.extractors,
        "--discriminator": request.discriminator,
        "--experts": request.experts,
        "--comparator": request.comparator,
    }
    for flag, owners in OWNERS.items():
        if given[flag] and suite.name not in owners:
            raise ConfigurationError(
                f"{flag} belongs to another suite.",
                expected=f"--suite {' or '.join(owners)}",
                found=f"--suite {suite.name}",
                where=flag,
                todo="Leave it out, or choose the other suite.",
            )
    options: dict[str, Any] = {}
    if request.samples:
        options["samples"] = request.samples
    if request.extractors:
        options["extractors"] = request.extractors
    for key, model in (("discriminator", request.discriminator), ("comparator", request.comparator)):
        if model:
            options[key] = load_subject(model, request.device, trust=request.trust)
    if request.experts:
        from medgan_qa.criteria.expert_reading import read_expert_reading

        options["experts"] = read_expert_reading(request.experts)
    if request.cache and suite.name in OWNERS["--extractor"]:
        from medgan_qa.features.store import FeatureStore

        options["store"] = FeatureStore()
    return options


def read_cohort(data: str) -> Cohort:
    """A dataset file or folder, or the name of an embedded cohort."""
    if data.startswith("phantom:"):
        from medgan_qa.cohorts.phantom import phantom_cohort

        return phantom_cohort(data)
    from medgan_qa.cohorts.dataset import read_dataset

    return read_dataset(Path(data))


def _detector(request: Request, suite: Suite) -> Subject | None:
    from medgan_qa.subjects.load import REFERENCE, load_subject, shipped_models

    if request.detector is not None:
        return load_subject(request.detector, request.device, trust=request.trust)
    if suite.detector is not None and suite.detector in shipped_models():
        return load_subject(REFERENCE + suite.detector, request.device, trust=request.trust)
    return None
