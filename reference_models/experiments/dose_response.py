"""The dose-response experiment of Cohen, Luck and Honari (MICCAI 2018, arXiv 1805.08841), on brain phantoms.

Translators are trained whose target domain shows a tumour in 0 to 100 % of its slices, with three losses, and a frozen
detector reads what they make of holdout patients, half of whose slices show one. A faithful translator keeps that half
whatever the share in its training; one that matches distributions moves towards the share.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from medgan_qa import __version__
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.digests import digest
from medgan_qa.engines import LocalEngine
from medgan_qa.errors import ConfigurationError, OutputError
from medgan_qa.report.files import replace_file
from medgan_qa.subjects.load import load_subject
from medgan_qa.subjects.protocols import Subject
from reference_models.experiments import _dose_figure, _dose_sheet, _dose_tables
from reference_models.experiments._dose_arms import Arm, Plan, plan
from reference_models.experiments._dose_outcomes import Slice, read_slices
from reference_models.training import train

ARM_SCHEMA = "medgan-qa/dose-response-arm/1"

Report = Callable[[str, int, int], None]
"""Told what is going on, steps done and steps in all."""


def run(
    out: Path,
    *,
    size: str,
    device: str = "cpu",
    seed: int | None = None,
    steps: int | None = None,
    shares: str | None = None,
    losses: str | None = None,
    report: Report | None = None,
) -> Path:
    """Train and read every arm, and write the tables and the figure.

    An arm that is finished stands in `out/arms` as a file; a run that was interrupted goes on with the others, and in
    the middle of the one that it was at.

    Args:
        out: folder of the experiment.
        size: `cpu` or `gpu`.
        device: `cpu` or a CUDA device.
        seed: of networks and batches, in place of the configuration's.
        steps: of every arm, in place of the configuration's.
        shares: of tumours, separated by commas.
        losses: separated by commas.
        report: for a progress display.

    Returns:
        The path of the figure.

    Raises:
        ConfigurationError: a choice that there is not, or an arm in `out` that was trained otherwise.
        OutputError: `out` cannot be written.
    """
    chosen = plan(size=size, seed=seed, steps=steps, shares=shares, losses=losses)
    arms = out / "arms"
    try:
        arms.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            "The output folder cannot be made.", found=str(error), where=arms, todo="Choose another --out."
        ) from error
    study = Study(chosen, device)
    finished = [study.finished(arm, arms) or study.make(arm, arms, report) for arm in chosen.arms]
    results = _dose_tables.results(chosen, finished, study.facts())
    replace_file(out / "dose_response.csv", _dose_tables.csv_text(results).encode())
    replace_file(out / "dose_response.json", (json.dumps(results, indent=2) + "\n").encode())
    replace_file(out / "examples.png", _dose_sheet.sheet(chosen, study.holdout, arms, device))
    replace_file(out / "dose_response.svg", _dose_figure.figure(results).encode())
    return out / "dose_response.svg"


class Study:
    """What all arms share: the holdout patients and the detector.

    Args:
        chosen: the plan.
        device: where the networks run.
    """

    def __init__(self, chosen: Plan, device: str) -> None:
        self.chosen, self.device = chosen, device
        data = chosen.arms[0].recipe.data
        self.holdout = BrainPhantoms(data.source, data.target, size=data.size, people=chosen.holdout)
        self.detector = load_subject(chosen.detector, device)

    def identity(self, arm: Arm) -> str:
        """SHA-256 of everything that an arm's outcome depends on."""
        return digest([arm.settings, self.detector.sha256, self.holdout.digest()])

    def finished(self, arm: Arm, folder: Path) -> dict[str, Any] | None:
        """The arm as an earlier run left it; None where there is none.

        Raises:
            ConfigurationError: it was trained or read otherwise.
        """
        path = folder / f"{arm.name}.json"
        if not path.exists():
            return None
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content.get("identity") != self.identity(arm):
            raise ConfigurationError(
                "The folder holds this arm as another configuration made it.",
                expected=f"{arm.recipe.steps} steps, seed {arm.recipe.seed}, size {arm.recipe.size}, the same detector "
                "and holdout",
                found=f"{content.get('steps')} steps, seed {content.get('seed')}, size {content.get('size')}",
                where=path,
                todo="Choose another --out, or delete the file to train the arm again.",
            )
        return content

    def make(self, arm: Arm, folder: Path, report: Report | None) -> dict[str, Any]:
        """Train one arm, read its holdout and write both down."""
        began = time.monotonic()

        def told(done: int, losses: dict[str, float]) -> None:
            if report is not None:
                report(arm.name, done, arm.recipe.steps)

        model = train(arm.recipe, folder / arm.name, device=self.device, report=told)
        subject = load_subject(str(model), self.device)
        reading = self._read(subject)
        content = {
            "schema": ARM_SCHEMA,
            "identity": self.identity(arm),
            "loss": arm.loss,
            "share": arm.share,
            "size": arm.recipe.size,
            "steps": arm.recipe.steps,
            "batch": arm.recipe.batch,
            "seed": arm.recipe.seed,
            "parameters": subject.parameters,
            "model_sha256": subject.sha256,
            "minutes": round((time.monotonic() - began) / 60, 2),
            "slices": [asdict(s) for s in reading],
        }
        replace_file(folder / f"{arm.name}.json", (json.dumps(content) + "\n").encode())
        (folder / arm.name / "state.pt").unlink(missing_ok=True)
        return content

    def facts(self) -> dict[str, Any]:
        """What stands at the head of the results: detector, holdout and environment."""
        return {
            "detector": {"model": self.chosen.detector, "sha256": self.detector.sha256},
            "holdout": {"name": self.holdout.name, "digest": self.holdout.digest(), "patients": self.chosen.holdout},
            "environment": _environment(self.device),
        }

    def _read(self, subject: Subject) -> list[Slice]:
        translated = TranslationRun(subject, self.holdout, self.detector, LocalEngine(), self.chosen.seed)
        return read_slices(translated)


def _environment(device: str) -> dict[str, Any]:
    return {
        "medgan_qa": __version__,
        "torch": torch.__version__.split("+")[0],
        "python": platform.python_version(),
        "device": "CUDA" if device.startswith("cuda") else f"CPU, {torch.get_num_threads()} thread(s)",
    }
