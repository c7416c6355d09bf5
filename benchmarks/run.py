"""Measure what a user waits for, and print it beside the targets as a Markdown table.

    python benchmarks/run.py
    python benchmarks/run.py --model FILE --detector FILE

Nothing passes or fails here. `benchmarks/README.md` says what each row is.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

COMMAND = [sys.executable, "-m", "medgan_qa.cli"]
HELP_RUNS = 5
HEAVY = {"numpy", "scipy", "torch", "skimage", "pandas", "pydantic", "weasyprint"}
VERDICTS = (0, 1, 3)
"""Exit codes of an audit that ran to its end."""


class Row(NamedTuple):
    """One line of the table."""

    what: str
    measured: str
    target: str


class Usage(NamedTuple):
    """What a finished process took."""

    seconds: float
    peak_gigabytes: float
    exit_code: int
    errors: str


def run(arguments: list[str]) -> Usage:
    """Run the command line to its end.

    The peak is the largest resident set of the process or of any process it waited for, as the kernel kept it. It
    includes what this process held at the fork, so measure before importing anything large here.
    """
    with tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        text = errors.read().decode(errors="replace")
    return Usage(seconds, usage.ru_maxrss * 1024 / 1e9, process.returncode, text)


def help_rows() -> list[Row]:
    """Wall time of `--help`, and the heavy packages that it imports."""
    runs = [run(["--help"]) for _ in range(HELP_RUNS)]
    if any(used.exit_code for used in runs):
        sys.exit(f"--help failed:\n{runs[0].errors}")
    seconds = [used.seconds for used in runs]
    timed = subprocess.run(
        [sys.executable, "-X", "importtime", *COMMAND[1:], "--help"], capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in timed.stderr.splitlines()}
    measured = f"min {min(seconds):.2f} s, median {statistics.median(seconds):.2f} s of {HELP_RUNS}"
    return [
        Row("`medgan-qa --help`, wall time", measured, "0.5 s"),
        Row("`medgan-qa --help`, heavy packages imported", ", ".join(sorted(HEAVY & imported)) or "none", "none"),
    ]


def audit_rows(model: str, detector: str | None) -> list[Row]:
    """Wall time and memory of the translation suite on the embedded cohort, PDF included."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        arguments = ["audit", model, "--suite", "translation", "--device", "cpu", "--out", str(out)]
        used = run([*arguments, *(["--detector", detector] if detector else [])])
        ended = used.exit_code in VERDICTS and (out / "report.pdf").is_file()
    if not ended:
        sys.exit(f"The audit of {model} ended with exit code {used.exit_code}:\n{used.errors}")
    return [
        Row("audit of 200 embedded cases with PDF, wall time", f"{used.seconds:.1f} s", "60 s"),
        Row("audit of 200 embedded cases with PDF, peak memory", f"{used.peak_gigabytes:.2f} GB", "2 GB"),
    ]


def render_rows() -> list[Row]:
    """Processor time of one phantom pair."""
    from medgan_qa.cohorts.phantom import COHORT_SEED, draw_cohort
    from medgan_qa.cohorts.phantom_render import render_pair

    specs = draw_cohort(COHORT_SEED, "benchmark", 50)
    rows = []
    for size in (64, 128):
        render_pair(specs[0], "T2", "FLAIR", size)  # fills the caches that a cohort shares
        pairs = [_processor_seconds(partial(render_pair, spec, "T2", "FLAIR", size)) for spec in specs]
        measured = f"median {1e3 * statistics.median(pairs):.1f} ms of {len(pairs)}"
        rows.append(Row(f"phantom pair, {size} x {size}, processor time", measured, "about 3 ms"))
    return rows


def _processor_seconds(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def machine() -> str:
    """The processor, the load and the versions that numbers depend on."""
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    versions = ", ".join(f"{name} {version(name)}" for name in ("medgan-qa", "numpy", "torch"))
    return (
        f"{processor}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the start; "
        f"{platform.system()}, Python {platform.python_version()}, {versions}"
    )


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what a user waits for and print it beside the targets.")
    parser.add_argument("--model", default="reference:cyclegan-balanced", help="model to audit [%(default)s]")
    parser.add_argument("--detector", help="lesion detector [the suite's own]")
    options = parser.parse_args()
    print(f"Machine: {machine()}\n")
    # Rendering imports numpy into this process and so stands last (see `run`).
    rows = [*help_rows(), *audit_rows(options.model, options.detector), *render_rows()]
    print("| what | measured | target |\n| --- | --- | --- |")
    for row in rows:
        print(f"| {row.what} | {row.measured} | {row.target} |")


if __name__ == "__main__":
    main()
