"""The sets of measures that anatomy is read with: those that ship, a segmenter's, and those of installed packages."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits.real_range import BATCH, joined
from medgan_qa.audits.synthesis import Pictures, SynthesisRun
from medgan_qa.cohorts.cohort import Cohort
from medgan_qa.errors import ConfigurationError, ModelError
from medgan_qa.metrics import measure_all
from medgan_qa.metrics.anatomy import MEASURES, Measure
from medgan_qa.metrics.reference_range import Quantity, Table
from medgan_qa.subjects.protocols import Subject

GROUP = "medgan_qa.measures"
"""Entry-point group: a callable (image (H, W) float32 in unit range, spacing (dy, dx) in mm) -> dict[str, float]."""
MASK = "mask"
"""The set that needs a segmenter."""
HEADS = re.compile(r"FLAIR|\bT1(?!\d)", re.IGNORECASE)
"""Contrasts in which the measures `brain` are what their names say."""
RESOLUTION = 1e-3
"""Share of a measure's median below which a difference in somebody else's measure is none."""
LEAST_RESOLUTION = 1e-9
Float = NDArray[np.float32]


class MeasureSet(NamedTuple):
    """Measures by one function."""

    name: str
    measure: Measure
    quantities: dict[str, Quantity] | None
    """None for the measures of an installed package: both sides are judged."""


def measure_sets(code: str, asked: str, run: SynthesisRun) -> list[MeasureSet]:
    """The sets that are asked for, in that order, each once.

    Args:
        code: the audit that asks.
        asked: names, comma separated, or `auto`.
        run: the run; its cohort's contrast and its detector decide what `auto` is.

    Raises:
        ConfigurationError: no name, an unknown one, one that two packages register, or a package that fails.
    """
    names = list(dict.fromkeys(part.strip() for part in asked.split(",") if part.strip()))
    if names == ["auto"]:
        names = ["generic"] + (["brain"] if shows_heads(run.cohort) else []) + ([MASK] if run.detector else [])
    points = _points()
    known = [*MEASURES, *points]
    if not names or (unknown := [name for name in names if name not in known]):
        raise ConfigurationError(
            f"{code} does not know these measures." if names else f"{code} is given no measures.",
            expected=f"auto, or some of {', '.join(known)}, comma separated",
            found=", ".join(unknown) if names else repr(asked),
            where=f'[parameters."{code}"] measures',
            todo=f"Correct the name, or install the package that registers it (entry-point group {GROUP}).",
        )
    return [_set(name, points) for name in names]


def shows_heads(cohort: Cohort) -> bool:
    """Whether the contrast is one in which `brain` measures; what part of the body it shows is not known."""
    return any(HEADS.search(domain or "") for domain in (cohort.source_domain, cohort.target_domain))


def measured(run: SynthesisRun, sets: list[MeasureSet], pictures: Pictures, label: str) -> Table:
    """Every measure of every image, by `SET.MEASURE`.

    Raises:
        ModelError: the segmenter returned NaN or infinity.
        ValueError: a measure gives other names for some images, or numbers that are not finite.
    """

    def measure(first: int) -> Table:
        part = slice(first, first + BATCH)
        table: Table = {}
        for kind in sets:
            images = pictures.grey[part]
            if kind.name == MASK and run.detector is not None:
                images = _marks(run.detector, pictures.images[part])
            found = measure_all(images, kind.measure, run.reference.spacing_mm)
            table |= {f"{kind.name}.{name}": column for name, column in found.items()}
        return table

    return joined(run.engine.map(measure, range(0, len(pictures), BATCH), label=label))


def quantities_of(sets: list[MeasureSet], limits: Table) -> dict[str, Quantity]:
    """What each measure is; for a package's own, the resolution is a thousandth of its median among real images."""
    own = {kind.name: kind.quantities for kind in sets}
    found = {}
    for name, column in limits.items():
        kind, _, measure = name.partition(".")
        quantities = own[kind]
        if quantities is None:
            resolution = max(RESOLUTION * abs(float(np.median(column))), LEAST_RESOLUTION)
            found[name] = Quantity("1", "both", resolution, f"{measure}, measured by an installed package")
        else:
            found[name] = quantities[measure]
    return found


def _set(name: str, points: dict[str, EntryPoint]) -> MeasureSet:
    if name in MEASURES:
        return MeasureSet(name, *MEASURES[name])
    try:
        measure: Callable[[Float, tuple[float, float]], dict[str, float]] = points[name].load()
    except Exception as error:  # somebody else's package: whatever goes wrong is theirs to mend
        raise ConfigurationError(
            f"The package that registers the measures {name} failed.",
            expected="a callable (image, spacing in mm) -> dict of numbers",
            found=f"{type(error).__name__}: {error}",
            where=f"entry point {points[name].value} of group {GROUP}",
            todo="Repair or remove the package.",
        ) from error
    return MeasureSet(name, measure, None)


def _points() -> dict[str, EntryPoint]:
    """What installed packages register, by name; embedded names cannot be taken."""
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda p: (p.name, p.value)):
        if point.name in found or point.name in MEASURES:
            raise ConfigurationError(
                "Measures are registered twice under one name.",
                expected="every name registered once, and none of those that ship",
                found=point.name,
                where=f"entry point {point.value} of group {GROUP}",
                todo="Uninstall one of the packages, or rename its measures.",
            )
        found[point.name] = point
    return found


def _marks(detector: Subject, images: Float) -> Float:
    """(n, H, W) 1 where the segmenter marks; one that reads grey is given the mean over channels."""
    grey = detector.card.channels_in == 1 and images.shape[1] > 1
    logits = detector.read(images.mean(axis=1, keepdims=True, dtype=np.float32) if grey else images)
    if not np.isfinite(logits).all():
        raise ModelError(
            "The segmenter returned NaN or infinity.",
            expected="one finite logit a pixel",
            found=f"{int((~np.isfinite(logits)).sum())} of {logits.size} pixels",
            where=detector.path,
            todo="Repair the segmenter, or give another with --detector.",
        )
    return (logits > 0).astype(np.float32)
