"""Scores of cases with a part of the image covered, a part of DIS-005."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits._scores import called
from medgan_qa.audits.classification import ClassificationRun, Scored, Threshold
from medgan_qa.errors import ConfigurationError
from medgan_qa.metrics.occlusion import Typical, border_region, covered, fields, painted_over, share_inside

CODE = "DIS-005"

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Vector = NDArray[np.float64]


class CoveredScores(NamedTuple):
    """Scores of every case with something covered."""

    border: Vector
    """Frame and corners covered."""
    inside: Vector
    """All but frame and corners covered."""
    outside: Vector
    """All outside the body covered."""
    clear: Bool
    """(N,) no annotated lesion reaches into the border."""


class Hidden(NamedTuple):
    """A case whose lesion was painted over."""

    item: Scored
    image: Float
    logit: float


def border_regions(run: ClassificationRun, frame: float, corner: float) -> dict[tuple[int, int], Bool]:
    """The border by size of image."""
    shapes = {item.body.shape for item in run.items}
    try:
        found = {shape: border_region(shape, frame, corner) for shape in shapes}
    except ValueError as error:
        found, why = {}, str(error)
    else:
        why = "frame and corner are both 0"
    if not found or not all(region.any() for region in found.values()):
        raise ConfigurationError(
            f"The border of {CODE} cannot be made.",
            expected="frame and corner below 0.5, one of them above 0, and pixels left inside",
            found=why,
            where=f'[parameters."{CODE}"] of the criteria file',
            todo=f"`medgan-qa explain {CODE}` lists the parameters.",
        )
    return found


def scores_covered(run: ClassificationRun, typical: Typical, regions: dict[tuple[int, int], Bool]) -> CoveredScores:
    covers = {shape: typical.at((run.items[0].image.shape[0], *shape)) for shape in regions}
    names = [item.case.case_id for item in run.items]
    # One level for the air of every case, or its own would be a mark of it.
    levels = [float(np.median(item.grey[~item.body])) for item in run.items if not item.body.all()]
    air = float(np.median(levels)) if levels else 0.0

    def scores(what: str, image_of: Callable[[Scored], Float]) -> Vector:
        return run.score([image_of(item) for item in run.items], names, label=f"Scoring, {what}")

    def border_of(item: Scored) -> Bool:
        return regions[item.body.shape]

    return CoveredScores(
        scores("border covered", lambda i: covered(i.image, border_of(i), covers[i.body.shape])),
        scores("border only", lambda i: covered(i.image, ~border_of(i), covers[i.body.shape])),
        scores("air covered", lambda i: covered(i.image, ~i.body, air)),
        np.array([i.lesion is None or not (i.lesion & border_of(i)).any() for i in run.items]),
    )


def lesions_hidden(run: ClassificationRun) -> dict[str, Hidden]:
    """Cases of the disease with their lesions painted over, by case id."""
    there = [item for item in run.items if item.positive and item.lesion is not None and item.lesion.any()]
    images = run.engine.map(_without_lesion, there, label="Painting lesions over")
    logits = run.score(images, [item.case.case_id for item in there], label="Scoring, lesions painted over")
    return {
        item.case.case_id: Hidden(item, image, float(logit))
        for item, image, logit in zip(there, images, logits, strict=True)
    }


def _without_lesion(item: Scored) -> Float:
    assert item.lesion is not None
    return painted_over(item.image, item.lesion)


def occlusion_maps(
    run: ClassificationRun, maps: int, along: int, point: Threshold | None
) -> tuple[dict[str, float], dict[str, float]]:
    """Share of the evidence that lies on the lesion and share of the fields that do, by case id.

    Fields are covered by what a case without the disease shows there on average. The mean of all images would leave
    half of a marker, and painting would carry a large lesion on into a field that lies within it.
    """
    healthy = Typical([item.image for item in run.items if not item.positive])
    there = [
        item
        for item in run.items
        if item.positive
        and item.lesion is not None
        and item.lesion.any()
        and (point is None or called(item.logit, point))
    ]
    names = sorted({item.case.patient_id for item in there})
    order = rng.child(run.seed, CODE, "maps").permutation(len(names))
    # One case a patient, so that each of the few maps is independent.
    first = {item.case.patient_id: item for item in reversed(there)}
    chosen = [first[names[k]] for k in order[:maps]]
    evidence, area = {}, {}
    for item in chosen:
        assert item.lesion is not None
        parts = fields(item.body.shape, min(along, *item.body.shape))
        cover = healthy.at(item.image.shape)
        images = [covered(item.image, part, cover) for part in parts]
        logits = run.score(images, [item.case.case_id] * len(images), label="Occlusion maps")
        on = [bool((part & item.lesion).any()) for part in parts]
        share = share_inside((item.logit - logits).tolist(), on)
        if share is not None:
            evidence[item.case.case_id], area[item.case.case_id] = share, float(np.mean(on))
    return evidence, area
