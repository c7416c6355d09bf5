"""From slices to the tables of the dose-response experiment: shares with intervals, as JSON and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from reference_models.experiments._dose_arms import Plan
from reference_models.experiments._dose_outcomes import (
    ALPHA,
    DETECTOR,
    MIN_PIXELS,
    OUTCOMES,
    RULE,
    Outcome,
    Slice,
    mean_error,
    median_recovery,
    share,
)

SCHEMA = "medgan-qa/dose-response/1"
COLUMNS = ("loss", "target_share", "outcome", "events", "slices", "patients", "value", "low", "high", "level", "method")


def results(chosen: Plan, arms: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the experiment found, as JSON can hold it.

    Args:
        chosen: the plan.
        arms: what each finished arm wrote down, in the order of the plan.
        facts: what all arms share (detector, holdout, environment).
    """
    read = [[Slice(**row) for row in arm["slices"]] for arm in arms]
    holdout = {
        **facts["holdout"],
        "slices": len(read[0]),
        "slices_with_tumour": sum(s.tumour for s in read[0]),
    }
    return {
        "schema": SCHEMA,
        "size": chosen.size,
        "seed": chosen.seed,
        "shares": list(chosen.shares),
        "losses": chosen.losses,
        "counting": f"{RULE.describe()} Lesions and marks of fewer than {MIN_PIXELS} pixels are not counted.",
        **facts,
        "holdout": holdout,
        # The real images are the same for every arm.
        "detector": {**facts["detector"], "real_images": shares(read[0], DETECTOR)},
        "arms": [_arm(arm, slices) for arm, slices in zip(arms, read, strict=True)],
    }


def shares(slices: Sequence[Slice], outcomes: Mapping[str, Outcome] = OUTCOMES) -> dict[str, Any]:
    """Every outcome of some slices: counts, share and interval."""
    return {name: _share(slices, outcome) for name, outcome in outcomes.items()}


def csv_text(found: Mapping[str, Any]) -> str:
    """One row an arm and outcome, of what `results` returns; a share of no slices is empty."""
    stream = StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for arm in found["arms"]:
        for name in OUTCOMES:
            row = {key: value for key, value in arm["outcomes"][name].items() if key in COLUMNS}
            writer.writerow({"loss": arm["loss"], "target_share": arm["share"], "outcome": name, **row})
    return stream.getvalue()


def _arm(arm: Mapping[str, Any], slices: Sequence[Slice]) -> dict[str, Any]:
    kept = median_recovery(slices)
    return {
        **{key: value for key, value in arm.items() if key not in ("schema", "identity", "slices", "size", "seed")},
        "not_followed": sum(s.status == "not followed" for s in slices),
        "median_contrast_kept": None if kept is None else round(kept, 4),
        "mean_error_outside_lesions": round(mean_error(slices), 5),
        "outcomes": shares(slices),
    }


def _share(slices: Sequence[Slice], outcome: Outcome) -> dict[str, Any]:
    found = share(slices, outcome)
    return {
        "title": outcome.title,
        "events": found.k,
        "slices": found.n,
        "patients": found.clusters,
        "value": None if found.value is None else round(found.value, 5),
        "low": round(found.low, 5),
        "high": round(found.high, 5),
        "level": 1 - ALPHA,
        "method": found.method,
    }
