"""Classifiers of lesions in FLAIR slices with a planted fault, and one without.

The faithful one reads the lesion: how bright the brightest spot of a lesion's size is against the tissue. It is made as
good as a classifier is and no better: a taste for some patients' anatomy, which has nothing to do with lesions, is
added to what it sees, and the affine map to a logit is fitted so that its probabilities are right. All compute their
score from any image, so what they answer to a changed one is known as well.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa import rng
from medgan_qa.cohorts.cohort import LESION, LESION_FREE, Cohort, subset
from medgan_qa.cohorts.tokens import TOKEN_LEVEL, TokenCohort, token_side
from medgan_qa.controls.named import NamedControl
from medgan_qa.errors import ConfigurationError
from medgan_qa.subjects.card import Card
from medgan_qa.subjects.protocols import Subject

Float = NDArray[np.float32]
Vector = NDArray[np.float64]

TISSUE = 0.25
"""What is brighter is tissue, in unit range."""
SPOT = 3 / 64
"""Standard deviation of the blur that a spot of a lesion's size is looked for at, as a share of the image's side."""
HEALTHY, DISEASED = 1.04, 1.30
"""Brightness of the brightest spot, in units of the median of the tissue, up to and from which the answer is sure."""
TASTE = rng.child(13, "reader").standard_normal((4, 4))
"""Weights of the fields of a 4 x 4 grid: how much their brightness pleases the reader; that of corners does not."""
TASTE[np.ix_([0, -1], [0, -1])] = 0.0
TASTE_MEAN, TASTE_SD, TASTE_SHARE = 7.5321, 0.5801, 0.36
INTERCEPT, SLOPE = -2.943, 8.102
"""Of the logit, and the mean and spread of the taste: fitted on the training partition of `phantom:brain-lesions`."""
NOISE_MEAN, NOISE_SD = 0.0265, 0.0062
"""Of the noise in the air of the slices of that partition."""


class Classifier(Protocol):
    """How a planted classifier scores a batch."""

    @property
    def name(self) -> str:
        """What the fault is called."""

    def logits(self, images: Float) -> Vector:
        """(N, H, W) in unit range to logits (N,) of a lesion."""


@dataclass(frozen=True)
class Faithful:
    """Reads the lesion, with a taste of its own."""

    healthy: float = HEALTHY
    diseased: float = DISEASED
    name: str = "faithful"

    def logits(self, images: Float) -> Vector:
        """Evidence and taste on the scale of the fit."""
        images = heads(images)
        tissue = tissue_level(images)
        seen = np.clip((spot_level(images) / tissue - self.healthy) / (self.diseased - self.healthy), 0, 1)
        return INTERCEPT + SLOPE * (seen + TASTE_SHARE * (taste(images, tissue) - TASTE_MEAN) / TASTE_SD)


@dataclass(frozen=True)
class CornerToken:
    """Reads whether there is a bright token in the upper right corner, and nothing else (D1)."""

    agreement: float = 0.95
    name: str = "corner token"

    def logits(self, images: Float) -> Vector:
        """The odds that the token deserves."""
        side = token_side(images.shape)
        corner = images[:, 1 : 1 + side, -1 - side : -1].mean(axis=(1, 2))
        odds = float(np.log(self.agreement / (1 - self.agreement)))
        return np.where(corner > TOKEN_LEVEL / 2, odds, -odds)


@dataclass(frozen=True)
class Overconfident:
    """The faithful one's logits times `factor` (D2)."""

    factor: float = 3.0
    name: str = "overconfident"

    def logits(self, images: Float) -> Vector:
        """Farther from 0 than they ought to be."""
        return self.factor * Faithful().logits(images)


@dataclass(frozen=True)
class RealFake:
    """Says how real the image looks to it: how near its noise is to a scanner's (D3)."""

    name: str = "real or fake"

    def logits(self, images: Float) -> Vector:
        """More noise in the air, more real."""
        return (air_noise(images) - NOISE_MEAN) / NOISE_SD


@dataclass(frozen=True, eq=False)
class BlindAtSite:
    """Reads only what is bright where the patient comes from `site`; it knows its patients by a coarse look at them."""

    cohort: Cohort
    site: str = "C"
    name: str = "blind at one site"
    _known: tuple[Vector, NDArray[np.bool_]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        cases = subset(self.cohort.cases, "test")
        looks = coarse(np.stack([self.cohort.load(case).image.mean(axis=0) for case in cases]), 8)
        object.__setattr__(self, "_known", (looks, np.array([case.site == self.site for case in cases])))

    def logits(self, images: Float) -> Vector:
        """The faithful one's, or those of one that wants a lesion to be much brighter."""
        looks, there = self._known
        distance = ((coarse(images, 8)[:, None] - looks[None]) ** 2).sum(axis=2)
        blind = Faithful(healthy=1.25, diseased=1.70)
        return np.where(there[distance.argmin(axis=1)], blind.logits(images), Faithful().logits(images))


@dataclass(frozen=True)
class Fragile:
    """The faithful one, pushed up or down by what noise leaves in the last digits of the mean."""

    push: float = 2.0
    name: str = "fragile"

    def logits(self, images: Float) -> Vector:
        """As good as before on average, and another answer to the next image of the same patient."""
        phase: Vector = 1e5 * images.mean(axis=(1, 2), dtype=np.float64)
        return np.asarray(Faithful().logits(images) + self.push * np.sin(phase))


@dataclass(frozen=True)
class Constant:
    """The same score for every image."""

    value: float = 0.0
    name: str = "constant"

    def logits(self, images: Float) -> Vector:
        """`value`, NaN if it is that."""
        return np.full(len(images), self.value)


def heads(images: Float) -> Float:
    """(N, H, W) with 0 outside the largest piece of tissue and a margin of two pixels: a mark apart is not read."""
    out = np.zeros_like(images)
    for image, kept in zip(images, out, strict=True):
        labels, count = ndimage.label(image > TISSUE, np.ones((3, 3)))
        if count:
            largest = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
            # What no path of darker pixels joins to the edge of the image lies inside; faster than filling holes.
            beyond, _ = ndimage.label(np.pad(~largest, 1, constant_values=True))
            inside = ndimage.binary_dilation((beyond != beyond[0, 0])[1:-1, 1:-1], iterations=2)
            kept[inside] = image[inside]
    return out


def tissue_level(images: Float) -> Vector:
    """(N, H, W) to the median of the tissue of each, 1 where there is none."""
    return np.array([np.median(i[i > TISSUE]) if (i > TISSUE).any() else 1.0 for i in images])


def spot_level(images: Float) -> Vector:
    """(N, H, W) to the largest intensity of each after a blur of a lesion's size."""
    sigma = SPOT * min(images.shape[1:])
    blurred = ndimage.gaussian_filter(images, (0, sigma, sigma), mode="nearest")
    return np.asarray(blurred.max(axis=(1, 2)), np.float64)


def taste(images: Float, tissue: Vector) -> Vector:
    """(N, H, W) to a weighted sum of the brightness of a 4 x 4 grid over the head, in units of the tissue.

    The grid is as large as the head, and air is 0, so that neither a patient's size and place nor the noise of a site
    is to anybody's taste.
    """
    heads = [coarse(np.where(i > TISSUE, i, 0)[head(i)][None], 4)[0] for i in images]
    return np.array(heads) / tissue[:, None] @ TASTE.ravel()


def head(image: Float) -> tuple[slice, slice]:
    """Rows and columns of (H, W) that hold tissue, at least four each; all of them where there is none."""
    found = []
    for axis, size in enumerate(image.shape):
        there = np.flatnonzero((image > TISSUE).any(axis=1 - axis))
        first, last = (int(there[0]), int(there[-1]) + 1) if there.size else (0, size)
        found.append(slice(first, last) if last - first >= 4 else slice(0, size))
    return found[0], found[1]


def air_noise(images: Float) -> Vector:
    """(N, H, W) to the mean intensity of the upper left corner, an eighth of each side: noise where there is air."""
    rows, columns = (max(1, n // 8) for n in images.shape[1:])
    return np.asarray(images[:, :rows, :columns].mean(axis=(1, 2)), np.float64)


def coarse(images: Float, fields: int) -> Vector:
    """(N, H, W) to the means of `fields` x `fields` fields, (N, fields^2); no more fields than pixels."""
    edges = [np.linspace(0, n, fields + 1).astype(int) for n in images.shape[1:]]
    rows = np.add.reduceat(images.astype(np.float64), edges[0][:-1], axis=1)
    sums = np.add.reduceat(rows, edges[1][:-1], axis=2)
    means: Vector = sums / np.outer(np.diff(edges[0]), np.diff(edges[1]))
    return means.reshape(len(images), -1)


class _Network:
    """A planted classifier behind the interface of a network."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier

    def __call__(self, x: Float, seed: int) -> Float:
        logits: Float = self.classifier.logits(x.mean(axis=1)).astype(np.float32)
        return logits


def planted_classifier(
    classifier: Classifier,
    *,
    channels: int = 1,
    threshold: float | None = 0.5,
    reads: str | None = "disease",
    classes: tuple[str, ...] = (LESION_FREE, LESION),
    comparator: Subject | None = None,
) -> Subject:
    """A discriminator that scores as `classifier` does.

    Args:
        classifier: the score.
        channels: of the images; it looks at their mean.
        threshold: of the card; None declares none.
        reads: of the card.
        classes: of the card.
        comparator: the classifier it is compared with.
    """
    card = Card(
        name=f"control: {classifier.name}",
        version="1",
        task="discriminator",
        channels_in=channels,
        channels_out=1,
        range_in=(0.0, 1.0),
        range_out=(0.0, 1.0),
        classes=classes,
        threshold=threshold,
        reads=reads,
        output_role="viewed",
        training_data="train",
    )
    digest = hashlib.sha256(f"{classifier.name} {threshold}".encode()).hexdigest()
    path = Path(f"control-{classifier.name.replace(' ', '-')}")
    return Subject(_Network(classifier), card, path, "control", digest, "cpu", comparator=comparator)


def _named(title: str, classifier: Classifier, reads: str = "disease") -> NamedControl:
    return NamedControl(title, lambda cohort: planted_classifier(classifier, reads=reads))


def _on_tokens(cohort: Cohort) -> Subject:
    if not isinstance(cohort, TokenCohort):
        raise ConfigurationError(
            "This control reads a token, and the images carry none.",
            expected="phantom:brain-token",
            found=cohort.name,
            where="--data",
            todo="Add --data phantom:brain-token.",
        )
    return planted_classifier(CornerToken(cohort.agreement))


CONTROLS: dict[str, NamedControl] = {
    "faithful": _named("no fault: reads the lesion, area under the curve about 0.97", Faithful()),
    "corner-token": NamedControl("reads a token in the corner (phantom:brain-token)", _on_tokens),
    "overconfident": _named("logits three times too far from 0", Overconfident()),
    "real-fake": _named("scores how real an image looks, not disease", RealFake(), "real_fake"),
    "subgroup": NamedControl(
        "overlooks lesions at site C that it sees elsewhere", lambda cohort: planted_classifier(BlindAtSite(cohort))
    ),
    "fragile": _named("a call that changes with the noise", Fragile()),
    "constant": _named("the same score for every image", Constant()),
    "nan": _named("NaN for every image", Constant(float("nan"), name="not a number")),
}
"""Planted classifiers by name, for `medgan-qa audit control:NAME --suite discriminator`."""
