"""`medgan-qa audit`: load, run, judge, write a Record and render the report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medgan_qa.cli.options import debug_option, progress_bar
from medgan_qa.errors import ConfigurationError

if TYPE_CHECKING:
    from medgan_qa.cohorts.cohort import Cohort
    from medgan_qa.record import Record
    from medgan_qa.runner import RunResult
    from medgan_qa.subjects.protocols import Subject
    from medgan_qa.suites import Suite

CONTROL = "control:"
"""Prefix of a planted sampler's name on the command line."""
EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 3, "not_applicable": 3, "error": 3}


@click.command("audit")
@click.argument("model")
@click.option("--suite", "suite_name", required=True, help="Suite of audits: see `medgan-qa list suites`.")
@click.option("--data", help="Dataset file (.toml) or its folder. Without it: the suite's embedded phantoms.")
@click.option(
    "--criteria", "criteria_file", type=click.Path(path_type=Path), help="Criteria file. Without it: the suite's own."
)
@click.option("--detector", help="Model that reads lesions in the target domain: FILE or reference:NAME.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for the Record and report [medgan-qa-runs/MODEL-SUITE]."
)
@click.option("--samples", type=click.IntRange(min=2), help="Images to draw from a sampler [as many as test images].")
@click.option("--extractor", "extractors", multiple=True, help="Features of the synthesis suite; may be repeated.")
@click.option("--discriminator", help="The sampler's discriminator, for membership inference.")
@click.option("--cache/--no-cache", default=True, help="Keep features for later runs [--cache].")
@click.option("--seed", default=0, show_default=True, help="Names every random stream of the run.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:N, or auto.")
@click.option("--json", "as_json", is_flag=True, help="Print the Record as JSON on stdout.")
@debug_option
def command(
    model: str,
    suite_name: str,
    data: str | None,
    criteria_file: Path | None,
    detector: str | None,
    out: Path | None,
    samples: int | None,
    extractors: tuple[str, ...],
    discriminator: str | None,
    cache: bool,
    seed: int,
    device: str,
    as_json: bool,
) -> int:
    """Audit MODEL and write Record and report.

    MODEL is a file, reference:NAME for a shipped model, or control:NAME for a planted fault.
    Nothing but exit code 0 means that every criterion passed.
    """
    from medgan_qa.criteria import read_criteria
    from medgan_qa.evidence.folder import require_writable
    from medgan_qa.suites import suite as read_suite

    suite = read_suite(suite_name)
    criteria = read_criteria(criteria_file) if criteria_file else suite.criteria
    out = out or Path("medgan-qa-runs") / f"{_stem(model)}-{suite.name}"
    require_writable(out)
    from medgan_qa.engines import LocalEngine
    from medgan_qa.report import require_renderer
    from medgan_qa.runner import run_audit

    require_renderer()
    options = _options(suite, samples, extractors, discriminator, device, cache=cache)
    cohort = _cohort(data, suite)
    subject = _subject(model, device, cohort)
    reader = _detector(detector, suite, device)
    with progress_bar() as progress:
        result = run_audit(
            subject,
            cohort,
            suite,
            criteria,
            detector=reader,
            engine=LocalEngine(progress),
            seed=seed,
            command=["medgan-qa", *sys.argv[1:]],
            options=options,
        )
        if result.exception is not None and "--debug" in sys.argv:
            raise result.exception
        progress("Writing the report", 0, 1)
        _write(out, result)
        progress("Writing the report", 1, 1)
    if as_json:
        click.echo(result.record.to_json())
    else:
        show(result.record, out)
    return EXIT_CODES[result.record.verdict]


def _stem(model: str) -> str:
    return Path(model.removeprefix("reference:").removeprefix(CONTROL)).name.split(".")[0] or "model"


def _subject(model: str, device: str, cohort: Cohort) -> Subject:
    if model.startswith(CONTROL):
        from medgan_qa.controls.samplers import control_sampler

        return control_sampler(model.removeprefix(CONTROL), cohort)
    from medgan_qa.subjects.load import load_subject

    return load_subject(model, device)


def _options(
    suite: Suite,
    samples: int | None,
    extractors: tuple[str, ...],
    discriminator: str | None,
    device: str,
    *,
    cache: bool,
) -> dict[str, Any]:
    """What the suite's run takes beside model, data and detector."""
    given = {"--samples": samples, "--extractor": extractors, "--discriminator": discriminator}
    if suite.task != "synthesis":
        foreign = [flag for flag, value in given.items() if value]
        if foreign:
            raise ConfigurationError(
                f"{foreign[0]} belongs to another suite.",
                expected="--suite synthesis",
                found=f"--suite {suite.name}",
                where=foreign[0],
                todo="Leave it out, or choose the other suite.",
            )
        return {}
    from medgan_qa.features.store import FeatureStore
    from medgan_qa.subjects.load import load_subject

    options: dict[str, Any] = {"samples": samples} if samples else {}
    if extractors:
        options["extractors"] = extractors
    if discriminator:
        options["discriminator"] = load_subject(discriminator, device)
    if cache:
        options["store"] = FeatureStore()
    return options


def _cohort(data: str | None, suite: Suite) -> Cohort:
    data = data or suite.phantom
    if data.startswith("phantom:"):
        from medgan_qa.cohorts.phantom import phantom_cohort

        return phantom_cohort(data)
    from medgan_qa.cohorts.dataset import read_dataset

    return read_dataset(Path(data))


def _detector(detector: str | None, suite: Suite, device: str) -> Subject | None:
    from medgan_qa.subjects.load import REFERENCE, load_subject, shipped_models

    if detector is not None:
        return load_subject(detector, device)
    if suite.detector is not None and suite.detector in shipped_models():
        return load_subject(REFERENCE + suite.detector, device)
    return None


def _write(out: Path, result: RunResult) -> None:
    from medgan_qa.evidence.folder import staged, write_manifest, write_result
    from medgan_qa.report import write_reports

    with staged(out) as stage:
        write_result(stage, result)
        write_reports(stage)
        write_manifest(stage)


def show(record: Record, out: Path) -> None:
    """The verdict, the criteria and where the report is, on stdout."""
    from rich.console import Console
    from rich.table import Table

    colours = {"pass": "green", "fail": "red", "inconclusive": "yellow", "error": "magenta", "not_applicable": "white"}
    console = Console()
    console.print(f"[bold {colours[record.verdict]}]{record.verdict.upper()}[/]  {record.reason}", highlight=False)
    table = Table("criterion", box=None, pad_edge=False)
    table.add_column("measurement", overflow="fold")
    for heading in ("n", "estimate", "bound", "limit", "verdict"):
        table.add_column(heading)
    for audit in record.audits:
        for c in audit.criteria:
            limit = ", ".join(f"{k} {v:g}" for k, v in c.limit.items())
            bound, estimate = (("-" if v is None else f"{v:.3f}") for v in (c.value, c.estimate))
            n = "-" if c.n is None else str(c.n)
            table.add_row(c.id, c.measurement, n, estimate, bound, limit, f"[{colours[c.verdict]}]{c.verdict}[/]")
    console.print(table)
    for audit in record.audits:
        if audit.verdict in ("inconclusive", "error"):
            console.print(f"{audit.code}: {audit.reason}", highlight=False, markup=False)
    for deviation in record.deviations:
        console.print(f"Note: {deviation}", highlight=False, markup=False)
    if record.data.get("phantom"):
        console.print("Phantom data: no evidence of clinical performance.", style="dim")
    console.print(f"Report: {out / 'report.pdf'}", highlight=False, soft_wrap=True)
