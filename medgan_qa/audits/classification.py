"""A classification run: every labelled test case scored once, shared by the audits of the suite.

The discriminator of a generative model is audited as what it is used as, a classifier of disease; the generator has no
part in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from medgan_qa.audits.run import NotFiniteError, grey
from medgan_qa.cohorts.cohort import LESION, LESION_FREE, Case, CaseImages, Cohort, Partition, label_of, subset
from medgan_qa.engines import Engine
from medgan_qa.errors import ConfigurationError, ModelError
from medgan_qa.metrics import body_mask
from medgan_qa.subjects.load import comparator_of
from medgan_qa.subjects.protocols import Subject

BATCH = 64
"""Images a forward pass; fixed, so that a run repeats bit by bit on one machine."""

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scored:
    """One labelled case with its score."""

    case: Case
    image: Float
    """(C, H, W) in unit range."""
    positive: bool
    """The case has the class that large logits speak for."""
    logit: float
    lesion: Bool | None
    """(H, W). None: not annotated. All False: annotated as lesion-free."""
    body: Bool
    """(H, W) patient against air."""
    spacing_mm: tuple[float, float]

    @property
    def probability(self) -> float:
        """The logit as the probability that it stands for."""
        return float(special.expit(self.logit))

    @property
    def grey(self) -> Float:
        """(H, W), the mean over channels."""
        return grey(self.image)

    @property
    def row(self) -> dict[str, Any]:
        """The columns that every row of a case begins with."""
        head = {"case_id": self.case.case_id, "patient_id": self.case.patient_id}
        return {**head, **({} if self.case.site is None else {"site": self.case.site}), "positive": self.positive}


class Threshold(NamedTuple):
    """From where on a case is called, and who said so before the run."""

    probability: float
    source: str

    @property
    def logit(self) -> float:
        """The same on the scale of the logits."""
        return float(special.logit(self.probability))


class _Labelled(NamedTuple):
    case: Case
    images: CaseImages
    positive: bool


class ClassificationRun:
    """Classifier and cohort, with every score computed once.

    Args:
        subject: the discriminator under audit.
        cohort: the data; its `test` partition is used.
        detector: not used; scores are read as they are.
        engine: maps over batches.
        seed: the run's seed.
        comparator: a classifier to compare with on the same cases; the card's if not given.
    """

    def __init__(
        self,
        subject: Subject,
        cohort: Cohort,
        detector: Subject | None,
        engine: Engine,
        seed: int,
        *,
        comparator: Subject | None = None,
    ) -> None:
        self.subject, self.cohort, self.detector, self.engine, self.seed = subject, cohort, detector, engine, seed
        self.comparator = comparator if comparator is not None else comparator_of(subject)
        self.unlabelled: dict[str, str] = {}
        """Test cases without a class of their own, by case id, with the reason."""
        self.shared: dict[str, Any] = {}
        """What audits worked out once for each other, and the `context` of the run."""

    @property
    def cases(self) -> tuple[Case, ...]:
        """The test cases, without those that turned out to be unreadable and may be left out."""
        return subset(self.cohort.cases, "test")

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """Test only."""
        return ("test",)

    @property
    def options(self) -> dict[str, Any]:
        """The comparator."""
        return {} if self.comparator is None else {"comparator": self.comparator.as_dict()}

    @property
    def classes(self) -> tuple[str, str] | None:
        """The negative class and the positive one; None where neither card nor labels tell which is which."""
        if len(self.subject.card.classes) == 2:
            return self.subject.card.classes[0], self.subject.card.classes[1]
        return (LESION_FREE, LESION) if self.labels <= {LESION_FREE, LESION} else None

    @cached_property
    def labels(self) -> set[str]:
        """The labels that test cases have."""
        return {label for _, _, label in self._loaded if label is not None}

    @property
    def objection(self) -> str | None:
        """Why nothing can be said of the classifier on these cases; None if there are cases of both classes."""
        if self.classes is None:
            return (
                f"The card names no classes, and the cases are labelled {', '.join(sorted(self.labels)[:4])}: which of "
                f"them a large logit speaks for is not known. Add classes = [negative, positive] to the card."
            )
        negative, positive = self.classes
        there = {item.positive for item in self.items}
        if there == {True, False}:
            return None
        lacking = [name for name, kind in ((negative, False), (positive, True)) if kind not in there]
        found = f"labels of the data: {', '.join(sorted(self.labels)[:4])}" if self.labels else "no case is labelled"
        return f"No test case is {' or '.join(lacking)}, and both classes are needed ({found})."

    def dry_run(self) -> None:
        """One image through the classifier and through the one that it is compared with.

        Raises:
            ModelError: a model cannot be run on the cohort.
        """
        image = self.cohort.load(self.cases[0]).image
        self.subject.score(image[None])
        if self.comparator is None:
            return
        self.comparator.score(image[None])
        names = [model.card.classes for model in (self.subject, self.comparator)]
        if all(names) and names[0] != names[1]:
            raise ModelError(
                "The comparator tells other classes apart.",
                expected=f"classes = {list(names[0])}",
                found=f"classes = {list(names[1])}",
                where=self.comparator.path,
                todo="Compare classifiers of the same classes, the positive one last.",
            )

    def deviations(self) -> list[str]:
        """One score for every image, few different ones, logits beyond what a probability can tell apart."""
        if "items" not in vars(self) or len(self.items) < 2:
            return []
        logits = self.logits
        found = []
        if np.ptp(logits) == 0:
            found.append("The model's score is the same for every image.")
        sure = int((np.abs(logits) > 36).sum())
        if sure:
            found.append(f"The model's probability is 0 or 1 to the last digit in {sure} of {len(logits)} cases.")
        return found

    @cached_property
    def items(self) -> list[Scored]:
        """Every test case with a class, scored; the others stand in `unlabelled`.

        Raises:
            NotFiniteError: some score is NaN or infinite.
            DatasetError: a file cannot be read.
            ModelError: the model cannot be run on the images.
        """
        labelled = self._labelled()
        logits = self.score([one.images.image for one in labelled], [one.case.case_id for one in labelled])
        return [
            Scored(
                case=one.case,
                image=one.images.image,
                positive=one.positive,
                logit=float(logit),
                lesion=one.images.lesion_mask,
                body=body_mask(grey(one.images.image)),
                spacing_mm=one.images.spacing_mm,
            )
            for one, logit in zip(labelled, logits, strict=True)
        ]

    @cached_property
    def logits(self) -> Vector:
        """(N,) of all items."""
        return np.array([item.logit for item in self.items])

    @cached_property
    def positive(self) -> Bool:
        """(N,) of all items."""
        return np.array([item.positive for item in self.items], bool)

    @cached_property
    def patients(self) -> list[str]:
        """(N,) the patient of each item."""
        return [item.case.patient_id for item in self.items]

    @cached_property
    def compared(self) -> Vector | None:
        """(N,) the comparator's logits of all items; None where there is no comparator.

        Raises:
            NotFiniteError: some score is NaN or infinite.
        """
        if self.comparator is None:
            return None
        return self.score([i.image for i in self.items], [i.case.case_id for i in self.items], model=self.comparator)

    def score(
        self,
        images: Sequence[Float],
        names: Sequence[str],
        *,
        model: Subject | None = None,
        label: str = "Scoring",
    ) -> Vector:
        """Logits of images, in batches of images of one size.

        Args:
            images: (C, H, W) each, unit range.
            names: the case of each, for messages.
            model: which classifier, if not the one under audit.
            label: what is going on, for a progress display.

        Raises:
            NotFiniteError: some score is NaN or infinite.
        """
        model = model or self.subject
        groups: list[list[int]] = []
        for shape in dict.fromkeys(image.shape for image in images):
            same = [k for k, image in enumerate(images) if image.shape == shape]
            groups += [same[j : j + BATCH] for j in range(0, len(same), BATCH)]
        chosen = model

        def score(group: list[int]) -> Float:
            return chosen.score(np.stack([images[k] for k in group]))

        logits = np.empty(len(images))
        for group, given in zip(groups, self.engine.map(score, groups, label=label), strict=True):
            logits[group] = given
        bad = np.flatnonzero(~np.isfinite(logits))
        if bad.size:
            raise NotFiniteError(
                f"The model returned NaN or infinity for {bad.size} of {len(images)} images.",
                expected="one finite logit an image",
                found=f"first in {', '.join(names[k] for k in bad[:5])}",
                where=model.path,
                todo="Repair the model. Nothing is averaged over such scores, so no measurement was made.",
            )
        return logits

    def threshold(self, code: str, declared: float) -> Threshold | None:
        """The operating point: the audit's parameter where it is set, else the card's; None where nobody declared one.

        It is never chosen on the test cases.

        Args:
            code: of the audit.
            declared: its parameter `threshold`, a probability; 0 where it is not set.

        Raises:
            ConfigurationError: the parameter is no probability.
        """
        if declared:
            if not (math.isfinite(declared) and 0 < declared < 1):
                raise ConfigurationError(
                    f"The threshold of {code} is no probability.",
                    expected="a number between 0 and 1, or 0 for that of the card",
                    found=repr(declared),
                    where=f'[parameters."{code}"] of the criteria file',
                    todo="Declare the probability from which on a case is called.",
                )
            return Threshold(declared, "the criteria file")
        card = self.subject.card.threshold
        return None if card is None else Threshold(card, "the model card")

    @cached_property
    def _loaded(self) -> list[tuple[Case, CaseImages, str | None]]:
        loaded = self.engine.map(self.cohort.load, self.cases, label="Reading images")
        return [(case, images, label_of(case, images)) for case, images in zip(self.cases, loaded, strict=True)]

    def _labelled(self) -> list[_Labelled]:
        classes, kept = self.classes, []
        for case, images, label in self._loaded:
            if label is None:
                self.unlabelled[case.case_id] = "no label, and nobody looked for lesions"
            elif classes is None or label not in classes:
                self.unlabelled[case.case_id] = f"labelled {label}, which is none of the classes"
            else:
                kept.append(_Labelled(case, images, label == classes[1]))
        return kept


NO_THRESHOLD = (
    "No threshold was declared before the run: neither the model card (threshold) nor the criteria file (parameter "
    "threshold) has one, and it is never chosen on the test cases."
)


def said(threshold: Threshold | None) -> str:
    """Where the threshold came from, in a sentence."""
    if threshold is None:
        return NO_THRESHOLD
    return (
        f"A case is called from a probability of {threshold.probability:g} on, as declared in {threshold.source} "
        "before the run."
    )
