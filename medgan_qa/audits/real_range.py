"""Which samples lie outside the range of real images: what the audits of faults and of anatomy share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import Pair, pairs
from medgan_qa.audits.numbers import identifier, rate
from medgan_qa.audits.synthesis import Pictures, SynthesisRun
from medgan_qa.criteria import Estimate
from medgan_qa.errors import ConfigurationError
from medgan_qa.metrics import GrossFailures, gross_failures
from medgan_qa.metrics.reference_range import Quantity, Table
from medgan_qa.stats import FEWEST_CLUSTERS

REAL_IMAGES = "real test images"
"""Stratum of the real images that are judged by the same limits."""
REAL = "real against real"
"""Stratum of training images that stand in for samples."""
BATCH = 16
"""Images measured between two signs of progress; changes no number."""
MOST_ROWS = 200
"""Flagged samples that have a row; the table of all samples holds every one."""
Index = NDArray[np.intp]


class Split(NamedTuple):
    """The real images that limits are made from, and those that are judged by them; no patient is in both."""

    limits_from: str
    """`train` or `reference`."""
    limits: Index
    patients: tuple[str, ...]
    """Patients of the images that limits are made from."""
    held_out: Index
    """Of the test partition."""

    def describe(self, expected: float | None) -> str:
        """One sentence for the notes."""
        origin = "training images" if self.limits_from == "train" else "test images (half of the patients)"
        said = (
            f"Limits come from {len(self.limits)} real {origin}; {len(self.held_out)} test images are judged by them."
        )
        return (
            said if expected is None else f"{said} A further real image lies outside with probability {expected:.2%}."
        )


class Judged(NamedTuple):
    """Samples and held-out real images under the same limits."""

    samples: GrossFailures
    real: GrossFailures
    split: Split

    @property
    def worst_first(self) -> list[int]:
        """Flagged samples, the farthest out first; ties in the order of the samples."""
        order = np.argsort(-self.samples.scores, kind="stable")
        return [int(k) for k in order if self.samples.flags[k]]


def split_of(run: SynthesisRun) -> Split:
    """Limits from all training images, all test images to judge; without a train partition, half of the patients."""
    everything = np.arange(len(run.reference))
    if run.train is not None:
        return Split("train", np.arange(len(run.train)), run.train.patients, everything)
    patients = sorted(set(run.reference.patients))
    drawn = rng.child(run.seed, "real range").permutation(len(patients))
    half = {patients[k] for k in drawn[: math.ceil(len(patients) / 2)]}
    within = np.array([patient in half for patient in run.reference.patients])
    chosen = tuple(patient for patient in run.reference.patients if patient in half)
    return Split("reference", everything[within], chosen, everything[~within])


def too_few(code: str, run: SynthesisRun, split: Split, false_alarm: float) -> str | None:
    """What is missing to make limits and to compare distributions.

    Raises:
        ConfigurationError: the false-alarm rate is none.
    """
    if not 0.0 < false_alarm < 1.0:
        raise ConfigurationError(
            f"The false-alarm rate of {code} cannot be used.",
            expected="a number between 0 and 1, such as 0.01",
            found=repr(false_alarm),
            where=f'[parameters."{code}"] false_alarm',
            todo=f"`medgan-qa explain {code}` lists the parameters.",
        )
    needed = math.ceil(1 / false_alarm - 1e-9) - 1
    if len(split.limits) < needed:
        origin = "in the train partition" if split.limits_from == "train" else "of half of the test patients"
        return (
            f"There are {len(split.limits)} real images {origin} to make limits from; {needed} are needed for a "
            f"false-alarm rate of {false_alarm:g}."
        )
    people = len({run.reference.patients[k] for k in split.held_out})
    if min(people, len(run.sampled)) < FEWEST_CLUSTERS:
        return f"{people} test patients to judge and {len(run.sampled)} samples; {FEWEST_CLUSTERS} of each are needed."
    return None


def judge(tables: Mapping[str, Table], split: Split, quantities: Mapping[str, Quantity], false_alarm: float) -> Judged:
    """Samples and held-out real images against the joint range of the images that limits are made from.

    Args:
        tables: measures of all images of `generated`, `reference` and, where there is one, `train`.
        split: which real images are what.
        quantities: side and resolution of every measure.
        false_alarm: rate at which a further real image may be flagged.
    """
    limits = taken(tables[split.limits_from], split.limits)
    held_out = taken(tables["reference"], split.held_out)
    samples, real = (
        gross_failures(limits, table, quantities, false_alarm, split.patients)
        for table in (tables["generated"], held_out)
    )
    return Judged(samples, real, split)


def taken(table: Table, index: Index) -> Table:
    """Some rows of a table."""
    return {name: column[index] for name, column in table.items()}


def joined(parts: list[Table]) -> Table:
    """Tables of successive batches as one.

    Raises:
        ValueError: a batch with other measures than the first.
    """
    names = list(parts[0])
    if odd := [sorted(part) for part in parts if set(part) != set(names)]:
        raise ValueError(f"a measure gives other names for some images: {sorted(names)} and {odd[0]}")
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def outside_rates(code: str, name: str, label: str, run: SynthesisRun, judged: Judged) -> tuple[Estimate, Estimate]:
    """Shares of samples and of held-out real images outside the range."""
    samples = rate(
        identifier(code, name, None),
        label,
        judged.samples.flags.tolist(),
        run.sampled.patients,
        unit_of_analysis="sample",
    )
    real = rate(
        identifier(code, name, REAL_IMAGES),
        f"{label}: real test images by the same limits",
        judged.real.flags.tolist(),
        [run.reference.patients[k] for k in judged.split.held_out],
        unit_of_analysis="image",
        better="none",
        stratum=REAL_IMAGES,
    )
    return samples, real


def measures_beyond(found: GrossFailures, names: set[str]) -> NDArray[np.bool_]:
    """(M,) whether an image is beyond the limits in one of some measures."""
    return np.array([bool(names.intersection(beyond)) for beyond in found.measures], dtype=bool)


def list_samples(
    findings: Findings, code: str, run: SynthesisRun, table: Table, judged: Judged, describe: Callable[[int], Row]
) -> None:
    """Rows of the flagged samples, worst first, and a table of all with every measure."""
    names, order = run.sampled.names, judged.worst_first
    findings.rows = [{"case_id": names[k], "patient_id": names[k], **describe(k)} for k in order[:MOST_ROWS]]
    if len(order) > MOST_ROWS:
        findings.notes.append(f"Rows show the worst {MOST_ROWS} of {len(order)} flagged samples.")
    findings.tables[f"exhibits/{code}-samples.csv"] = [
        {
            "case_id": name,
            "patient_id": name,
            "outside": bool(judged.samples.flags[k]),
            **describe(k),
            **{measure: round(float(column[k]), 6) for measure, column in table.items()},
        }
        for k, name in enumerate(names)
    ]


def show_samples(
    findings: Findings,
    code: str,
    run: SynthesisRun,
    judged: Judged,
    label: Callable[[int], str],
    counts: tuple[int, int],
) -> None:
    """The samples farthest outside, and some drawn by the seed from all others, each beside the nearest real image."""
    worst = judged.worst_first[: counts[0]]
    left = np.setdiff1d(np.arange(len(run.sampled)), worst)
    drawn = np.sort(rng.child(run.seed, "exhibit", code).permutation(left)[: counts[1]])
    chosen = [(k, "worst") for k in worst] + [(int(k), "random") for k in drawn]
    nearest = nearest_real(run.sampled, run.reference, [k for k, _ in chosen])
    names, reference = run.sampled.names, run.reference
    shown = [
        Pair(run.sampled.grey[k], reference.grey[near], names[k], names[k], label(k), rule)
        for (k, rule), near in zip(chosen, nearest, strict=True)
    ]
    pairs(
        findings,
        f"{code}-samples",
        "Samples outside the range of real images, and others",
        f"The {len(worst)} samples farthest outside, and {len(drawn)} drawn at random from the others; beside each the "
        "test image with the least mean squared difference. Pixels that are no numbers are shown as 0.",
        shown,
        ("sample", "nearest real image"),
    )


def nearest_real(samples: Pictures, real: Pictures, chosen: list[int]) -> list[int]:
    """For each chosen sample the real image with the least mean squared difference; the first of equal ones."""
    asked = np.nan_to_num(samples.grey[chosen].astype(np.float64), nan=0.0, posinf=1.0, neginf=0.0)
    known = real.grey.reshape(len(real), -1).astype(np.float64)
    return [int(np.square(known - one.ravel()).sum(axis=1).argmin()) for one in asked]
