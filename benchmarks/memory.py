"""What a run keeps in memory: the same images with memory for all of them, and with little.

Drawn images, one after the other, of a cohort that is never held whole; each run in a process of its own. Peak is the
largest anonymous memory of the process (Linux), which the system cannot take back; pages of the scratch file it can,
and they are not counted. The digest shows that what was kept is the same. Run from the repository:

    python benchmarks/memory.py [--cases 200] [--side 384] [--budgets 100000 64] [--kinds translation synthesis]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from medgan_qa import rng
from medgan_qa.audits.contrast_recovery import contrast_recovery
from medgan_qa.audits.paired_fidelity import paired_fidelity
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.cohorts.cohort import Case, CaseImages
from medgan_qa.controls.responses import Power, computing_translator
from medgan_qa.engines import LocalEngine
from medgan_qa.engines.scratch import MEMORY_VARIABLE, memory_budget
from medgan_qa.subjects.card import Card
from medgan_qa.subjects.protocols import Subject

MEGABYTE = 10**6
KINDS = ("translation", "synthesis")


class Drawn:
    """Discs with noise and a bright lesion, drawn when they are asked for."""

    name, source_domain, target_domain = "discs", "A", "B"
    lesion_in: tuple[str, ...] = ()
    value_range = (0.0, 1.0)

    def __init__(self, number: int, side: int) -> None:
        self.side = side
        self.cases = tuple(Case(f"c{k:05d}", f"p{k:05d}", "test", True, True, True) for k in range(number))

    def load(self, case: Case) -> CaseImages:
        """Draw a case."""
        y, x = np.indices((self.side, self.side)) / self.side - 0.5
        g = rng.child(0, case.case_id)
        lesion = np.hypot(y - g.uniform(-0.2, 0.2), x - g.uniform(-0.2, 0.2)) < 0.05
        image = np.where(np.hypot(y, x) < 0.45, 0.4, 0.0) + 0.4 * lesion + 0.02 * g.standard_normal(y.shape)
        pixels = image.astype(np.float32)[None]
        return CaseImages(pixels, pixels.copy(), lesion, (1.0, 1.0))


def translated(cohort: Drawn) -> tuple[int, str]:
    """Every item of a translation run, then two audits of it; bytes of images, and a digest of the figures."""
    run = TranslationRun(computing_translator(Power(1.2)), cohort, None, LocalEngine(), 0)  # type: ignore[arg-type]
    found = [audit(run) for audit in (contrast_recovery, paired_fidelity)]
    size = run.shelf.in_memory + run.shelf.on_disk
    return size, _digest([e.measurement.model_dump() for f in found for e in f.estimates])


def sampled(cohort: Drawn) -> tuple[int, str]:
    """As many samples as the reference has, with both in the space of their averaged pixels."""

    def network(z: Any, seed: int) -> Any:
        noise = rng.child(seed, "pixels").standard_normal((len(z), 1, cohort.side, cohort.side))
        return (0.4 + 0.1 * noise).astype(np.float32)

    card = Card(
        name="noise",
        version="1",
        task="synthesis",
        channels_in=1,
        channels_out=1,
        range_in=(0.0, 1.0),
        range_out=(0.0, 1.0),
        latent_dim=4,
    )
    subject = Subject(network, card, Path("noise"), "control", "0" * 64, "cpu")
    run = SynthesisRun(subject, cohort, None, LocalEngine(), 0, extractors=("pixels",))  # type: ignore[arg-type]
    space = run.space()
    run.deviations()
    size = run.shelf.in_memory + run.shelf.on_disk
    return size, _digest([space.reference.tolist(), space.generated.tolist()])


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]


RUNS: dict[str, Callable[[Drawn], tuple[int, str]]] = {"translation": translated, "synthesis": sampled}


class Peak:
    """Watches the anonymous memory of this process."""

    def __init__(self) -> None:
        self.before = self.peak = self._now()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.01):
            self.peak = max(self.peak, self._now())

    @staticmethod
    def _now() -> int:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def measured(kind: str, cases: int, side: int) -> dict[str, Any]:
    """One run in this process."""
    started = time.perf_counter()
    with Peak() as peak:
        size, digest = RUNS[kind](Drawn(cases, side))
    return {
        "kind": kind,
        "budget": memory_budget() / MEGABYTE,
        "images": size / MEGABYTE,
        "peak": (peak.peak - peak.before) / MEGABYTE,
        "seconds": time.perf_counter() - started,
        "digest": digest,
    }


def main() -> None:
    """Run each kind with each budget, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--budgets", type=float, nargs="+", default=[100_000, 64], help="megabytes")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--one", action="store_true", help="one run in this process, as JSON")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measured(asked.kinds[0], asked.cases, asked.side)))
        return
    print(f"{asked.cases} cases of {asked.side} x {asked.side}\n")
    print("| run | images kept, MB | memory for images, MB | peak beyond start, MB | seconds | digest |")
    print("| --- | --- | --- | --- | --- | --- |")
    for kind in asked.kinds:
        for budget in asked.budgets:
            command = [sys.executable, __file__, "--one", "--kinds", kind]
            command += ["--cases", str(asked.cases), "--side", str(asked.side)]
            done = subprocess.run(
                command, env={**os.environ, MEMORY_VARIABLE: str(budget)}, capture_output=True, text=True, check=True
            )
            r = json.loads(done.stdout)
            print(
                f"| {kind} | {r['images']:.0f} | {r['budget']:.0f} | {r['peak']:.0f} | {r['seconds']:.1f} "
                f"| {r['digest']} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
