"""Time the report: HTML and PDF of a run of the translation suite, by number of cases, and how large they get.

    python benchmarks/report.py
    python benchmarks/report.py --cases 200 1000

The run is made up (no model, no network): as many case rows and plotted lesions as cases, one lesion in five lost, and
as many pictures as the audits of the suite choose, of noise, which no format makes small. The PDF is PDF/A-3a with the
Record and the case table inside. Nothing passes or fails here.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf

from medgan_qa import rng
from medgan_qa.evidence.folder import write_npz
from medgan_qa.evidence.tables import cases_csv
from medgan_qa.record import AuditResult, Criterion, Exhibit, Interval, Measurement, Record, Verdict
from medgan_qa.report import attachments, render_html, render_pdf

PICTURES, SIDE = 12, 64
TARGETS = {200: "15 s, 10 MB", 5000: "renders"}


def exhibits(audit: str, cases: int, folder: Path) -> list[Exhibit]:
    """Pictures of some cases, a point a case, and an interval a stratum."""
    g = rng.child(0, "benchmark", "report", audit)
    images = g.random((3, PICTURES, SIDE, SIDE), dtype=np.float32)
    name = f"exhibits/{audit}-cases.npz"
    write_npz(folder / name, dict(zip(("source", "output", "reference"), images, strict=True)))
    listed = [
        {"case_id": f"case-{k:05d}", "patient_id": f"p-{k // 2:05d}", "label": "lost", "rule": "worst"}
        for k in range(PICTURES)
    ]
    points = [
        {
            "x": float(g.uniform(3, 30)),
            "y": float(g.normal(0.9, 0.2)),
            "group": "lost" if k % 5 == 0 else "kept",
            "case_id": f"case-{k:05d}",
        }
        for k in range(cases)
    ]
    rows = [{"label": f"stratum {k}", "value": 0.1, "low": 0.05, "high": 0.2, "n": cases // 6} for k in range(6)]
    return [
        Exhibit(id=f"{audit}.p", kind="panels", title="Cases", caption="", data={"cases": listed}, file=name),
        Exhibit(id=f"{audit}.s", kind="scatter", title="By size", caption="", data={"points": points, "x_label": "mm"}),
        Exhibit(id=f"{audit}.f", kind="forest", title="Strata", caption="", data={"unit": "fraction", "rows": rows}),
    ]


def audit_result(code: str, cases: int, folder: Path) -> AuditResult:
    """An audit with one criterion and a dozen measurements."""
    interval = Interval(low=0.17, high=0.23, level=0.95, method="Clopper-Pearson", sided=1)
    common: dict[str, Any] = {"unit": "fraction", "n": cases, "unit_of_analysis": "lesion", "better": "lower"}
    measured = [
        Measurement(id=f"{code}.rate[{k}]", label="Rate", value=0.2, stratum=f"{k}", interval=interval, **common)
        for k in range(12)
    ]
    judged = Criterion(
        id=f"AC-{code}",
        measurement=measured[0].id,
        limit={"max": 0.1},
        judged_on="upper",
        value=0.23,
        verdict=Verdict.FAIL,
        reason="The whole interval lies beyond the limit.",
        rationale="A benchmark.",
        hazard="HZ-03",
        requirement="none",
        interval=interval,
    )
    return AuditResult(
        code=code,
        title="Benchmark",
        question="How long does it take?",
        verdict=Verdict.FAIL,
        reason="A criterion failed.",
        parameters={},
        seconds=0.0,
        measurements=measured,
        criteria=[judged],
        exhibits=exhibits(code, cases, folder),
        notes=[],
    )


def make_run(folder: Path, cases: int) -> Record:
    """A run of four audits with its case table, written into a folder."""
    (folder / "exhibits").mkdir()
    audits = ("PAT-001", "PAT-002", "PAT-003", "FID-010")
    rows = [
        {
            "audit": code,
            "case_id": f"case-{k:05d}",
            "patient_id": f"p-{k // 2:05d}",
            "status": "lost" if k % 5 == 0 else "kept",
            f"{code}_value": 0.5 + k / cases,
            f"{code}_other": k % 7,
        }
        for code in audits
        for k in range(cases)
    ]
    (folder / "cases.csv").write_text(cases_csv(rows), encoding="utf-8")
    record = Record(
        verdict=Verdict.FAIL,
        suite="translation",
        tool={"name": "medgan-qa"},
        run={"id": f"benchmark-{cases}", "finished_utc": "2026-11-01T00:00:00Z"},
        subject={"name": "none", "sha256": 64 * "0"},
        data={"name": "made up", "phantom": True},
        criteria_lock={},
        environment={},
        deviations=[],
        limitations=[],
        audits=[audit_result(code, cases, folder) for code in audits],
    )
    (folder / "record.json").write_text(record.to_json() + "\n", encoding="utf-8")
    return record


def measure(cases: int) -> str:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        record = make_run(folder, cases)
        started = time.perf_counter()
        page = render_html(record, folder)
        rendered = time.perf_counter()
        render_pdf(page, folder / "report.pdf", attachments(folder))
        ended = time.perf_counter()
        size = (folder / "report.pdf").stat().st_size
        with pikepdf.open(folder / "report.pdf") as pdf:
            pages = len(pdf.pages)
    seconds = f"{rendered - started:.1f} | {ended - rendered:.1f}"
    return f"| {cases} | {seconds} | {pages} | {len(page) / 1e6:.1f} | {size / 1e6:.1f} | {TARGETS.get(cases, '')} |"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, nargs="+", default=[200, 5000])
    print("| cases | HTML, s | PDF, s | pages | HTML, MB | PDF, MB | target |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    for cases in parser.parse_args().cases:
        print(measure(cases), flush=True)


if __name__ == "__main__":
    main()
