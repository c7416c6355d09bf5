"""Test images that the model made, beside what it made; and those that have its fingerprint."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits._fingerprints import Traced
from medgan_qa.audits._model_outputs import Made, Near
from medgan_qa.audits._partitions import PartitionedRun
from medgan_qa.audits._same_images import change
from medgan_qa.audits.catalogue import Findings
from medgan_qa.audits.exhibits import Pair, pairs, sheet
from medgan_qa.audits.run import grey
from medgan_qa.metrics._working import WORKING_PX, working
from medgan_qa.metrics.near_copies import as_query

LARGEST_PX, SHOWN = 512, 20

Float = NDArray[np.float32]


def show_near(findings: Findings, code: str, run: PartitionedRun, outputs: Made, near: Near, worst: int) -> None:
    order = np.argsort(near.pairs.residual, kind="stable")[:worst].tolist()
    shown = []
    for at in order:
        case, source = near.cases[at], int(near.pairs.reference[at])
        images = run.cohort.load(case)
        picture = images.target if near.roles[at] == "target" and images.target is not None else images.image
        side = min(LARGEST_PX, max(grey(picture).shape))
        test, output = (
            working(np.asarray(x, np.float32), side).pixels[0] for x in (grey(picture), outputs.images[source])
        )
        label = f"{change(near.pairs, at, True)}, of {outputs.names[source]}, residual {near.pairs.residual[at]:.3f}"
        laid = as_query(output, near.pairs, at, side / WORKING_PX)
        shown.append(Pair(test, laid, case.case_id, case.patient_id, label, "worst"))
    pairs(
        findings,
        f"{code}-pairs",
        "Test images that are outputs of the model",
        f"{len(shown)} of {len(near.pairs)} test images that the model made, the most alike first. The output is shown "
        "after the change that gives the test image.",
        shown,
        ("test image", "output, same change"),
    )


def show_traced(findings: Findings, code: str, run: PartitionedRun, traced: Traced, of_targets: bool) -> None:
    flagged = traced.flagged[:SHOWN]
    if not flagged:
        return
    usual = np.argsort(np.abs(traced.scores), kind="stable")[:10].tolist()

    def picture(k: int) -> Float:
        images = run.cohort.load(traced.cases[k])
        chosen = images.target if of_targets and images.target is not None else images.image
        small: Float = working(grey(chosen), 128).pixels[0]
        return small

    sheet(
        findings,
        f"{code}-fingerprint",
        "Test images with the fingerprint of the model",
        f"{len(flagged)} of {len(traced.flagged)} test images beyond the limit, the furthest first; below, images in "
        "the middle of the real ones for comparison.",
        {
            "fingerprint of the model": np.stack([picture(k) for k in flagged]),
            "in the middle": np.stack([picture(k) for k in usual]),
        },
    )
