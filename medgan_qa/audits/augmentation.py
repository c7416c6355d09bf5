"""An augmentation run: a synthesis run whose real images and samples carry labels, as a model will learn from them.

Real training images are what a model would be trained on without the samples, real test images what it is tested on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits.synthesis import Pictures, SynthesisRun
from medgan_qa.cohorts.cohort import CaseImages, Cohort, label_of
from medgan_qa.criteria.expert_reading import ExpertReading
from medgan_qa.engines import Engine
from medgan_qa.metrics.filter_bank import filter_bank
from medgan_qa.subjects.protocols import Subject
from medgan_qa.subjects.stored import StoredSet

Float = NDArray[np.float64]
Index = NDArray[np.intp]

BATCH = 64
"""Images described between two signs of progress; changes no number."""

NO_CLASSES = (
    "Nothing says what a sample is meant to show: the model's card names no classes. Add classes = [...] to the card "
    "of a sampler that draws on demand, or audit the images as a stored set whose table has the column label."
)
UNLABELLED_SET = "The stored set's table has neither labels nor lesion masks (columns label, lesion_mask, annotated)."
NO_TRAIN = "The dataset has no train partition, so there are no real images that a learner could be trained on."


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images of one origin that have a label, as a learner takes them."""

    pictures: Pictures
    index: Index
    """(n,) which of the pictures."""
    codes: Index
    """(n,) class numbers."""
    features: Float
    """(n, D) of the fixed filter bank."""

    def __len__(self) -> int:
        return len(self.index)

    @property
    def names(self) -> list[str]:
        """(n,) case ids or sample names."""
        return [self.pictures.names[i] for i in self.index]

    @property
    def patients(self) -> list[str]:
        """(n,) the independent unit of each."""
        return [self.pictures.patients[i] for i in self.index]

    def of(self, code: int) -> Index:
        """Places within the n of one class."""
        return np.flatnonzero(self.codes == code)

    def people(self, code: int) -> int:
        """Independent units with an image of a class."""
        return len({self.pictures.patients[self.index[k]] for k in self.of(code)})


@dataclass(frozen=True, eq=False)
class Sides:
    """Labelled images of every origin."""

    classes: tuple[str, ...]
    """Labels that real training images have, in alphabetical order; class numbers are places in it."""
    train: Labelled
    test: Labelled
    synthetic: Labelled


class AugmentationRun(SynthesisRun):
    """Sampler or stored set, labelled cohort, and what experts said, with everything computed from them once.

    Args:
        subject: the sampler under audit, with classes on its card, or a stored set.
        cohort: the cases; a learner is trained on `train` and tested on `test`.
        detector: reads lesions, as a second reader of labels, or None.
        engine: maps over images.
        seed: the run's seed; it names every random stream.
        experts: what clinical experts saw and said, or None.
        **options: as of a synthesis run.
    """

    def __init__(
        self,
        subject: Subject,
        cohort: Cohort,
        detector: Subject | None,
        engine: Engine,
        seed: int,
        *,
        experts: ExpertReading | None = None,
        **options: Any,
    ) -> None:
        super().__init__(subject, cohort, detector, engine, seed, **options)
        self.experts = experts

    @property
    def options(self) -> dict[str, Any]:
        """Those of a synthesis run, and which expert reading was given."""
        return {**super().options, "experts": None if self.experts is None else self.experts.facts}

    @cached_property
    def sample_labels(self) -> tuple[str | None, ...]:
        """What each sample is meant to show; None where nothing says so."""
        count = len(self.sampled)
        if isinstance(self.subject, StoredSet):
            return self.subject.labels[:count]
        classes = self.subject.card.classes
        # Without a label asked for, a sampler draws its classes in turn.
        return tuple(classes[k % len(classes)] if classes else None for k in range(count))

    @cached_property
    def sides(self) -> Sides | str:
        """Labelled images of every origin, or in words what is missing.

        Raises:
            NotFiniteError: a sample holds NaN or infinity.
        """
        if self.train is None:
            return NO_TRAIN
        known = {"train": _labels(self.train), "test": _labels(self.reference), "synthetic": self.sample_labels}
        classes = tuple(sorted({label for label in known["train"] if label is not None}))
        missing = self._lacking(classes, known)
        if missing:
            return missing
        pictures = {"train": self.train, "test": self.reference, "synthetic": self.generated}
        return Sides(classes, **{side: self._labelled(side, pictures[side], known[side], classes) for side in known})

    def unlabelled(self) -> dict[str, str]:
        """Test cases that no learner can be tested on, with the reason, by case id."""
        classes = self.sides.classes if isinstance(self.sides, Sides) else ()
        labels = zip(self.reference.names, _labels(self.reference), strict=True)
        return {
            name: "no label" if label is None else f"label {label} does not occur in training"
            for name, label in labels
            if label not in classes
        }

    def _lacking(self, classes: tuple[str, ...], known: Mapping[str, Sequence[str | None]]) -> str | None:
        given = sorted({label for label in known["synthetic"] if label is not None})
        if not given:
            return UNLABELLED_SET if isinstance(self.subject, StoredSet) else NO_CLASSES
        if len(classes) < 2:
            there = f"one label, {classes[0]}" if classes else "no label"
            return (
                f"The real training images have {there}; two are needed to learn anything. Fill the column label, or "
                "give lesion masks with annotated = true where there is none."
            )
        foreign = [label for label in given if label not in classes]
        if foreign:
            return (
                f"Samples are labelled {', '.join(foreign)}, which no real training image is ({', '.join(classes)}). "
                "Name classes in the card as the dataset does."
            )
        return None

    def _labelled(
        self, side: str, pictures: Pictures, labels: Sequence[str | None], classes: tuple[str, ...]
    ) -> Labelled:
        index = np.array([k for k, label in enumerate(labels) if label in classes], dtype=np.intp)
        codes = np.array([classes.index(str(labels[k])) for k in index], dtype=np.intp)
        images = pictures.images

        def describe(first: int) -> Float:
            return filter_bank(images[index[first : first + BATCH]])

        parts = self.engine.map(describe, range(0, max(len(index), 1), BATCH), label=f"Describing {side} images")
        return Labelled(pictures, index, codes, np.concatenate(parts))


def _labels(pictures: Pictures) -> tuple[str | None, ...]:
    """The labels of real images, by table or by mask."""
    every = zip(pictures.cases, pictures.images, pictures.masks, strict=True)
    return tuple(label_of(case, CaseImages(image, None, mask, pictures.spacing_mm)) for case, image, mask in every)
