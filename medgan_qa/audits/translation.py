"""A translation run: every test case translated once and read once, shared by the audits of the suite.

Audits of one suite ask different questions of the same images. The run makes them on first use and keeps what they
need: in memory, or in a scratch file where memory is spent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits.run import NotFiniteError, for_detector, grey
from medgan_qa.audits.streaming import batches_of, loaded
from medgan_qa.cohorts.cohort import Case, CaseImages, Cohort, Partition, subset
from medgan_qa.engines import Engine, Streamed
from medgan_qa.engines.scratch import Shelf
from medgan_qa.errors import ConfigurationError, ModelError
from medgan_qa.metrics import body_mask
from medgan_qa.subjects.load import inverse_of
from medgan_qa.subjects.protocols import Subject

BATCH = 16
"""Images a forward pass; fixed, so that a run repeats bit by bit on one machine."""

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Item:
    """One translated case; arrays (H, W), images in unit range, the mean over channels where there are several."""

    case: Case
    source: Float
    output: Float
    reference: Float | None
    channels: tuple[Float, Float | None]
    """Output and reference with all their channels, (C, H, W), for a detector that wants them."""
    lesion: Bool | None
    """None: not annotated. All False: annotated as lesion-free."""
    body: Bool
    spacing_mm: tuple[float, float]
    slice_mm: float | None = None
    """Distance of neighbouring slices of its volume; None where there is none, or where it is not known."""

    @property
    def annotation(self) -> str:
        """What is known about lesions in the case: `lesions`, `lesion-free` or `not annotated`."""
        if self.lesion is None:
            return "not annotated"
        return "lesions" if self.lesion.any() else "lesion-free"

    @property
    def row(self) -> dict[str, Any]:
        """The columns that every row of a case begins with."""
        head = {"case_id": self.case.case_id, "patient_id": self.case.patient_id, "site": self.case.site}
        return head if self.case.site is not None else {k: v for k, v in head.items() if k != "site"}


@dataclass(frozen=True, eq=False)
class Reading:
    """What the detector marked, (H, W) bool."""

    reference: Bool
    output: Bool


class TranslationRun:
    """Subject, cohort and detector, with everything computed from them once.

    Args:
        subject: the translator under audit.
        cohort: the data; its `test` partition is used.
        detector: reads lesions in target-domain images; None where there is none.
        engine: maps over batches.
        seed: the run's seed.
    """

    def __init__(self, subject: Subject, cohort: Cohort, detector: Subject | None, engine: Engine, seed: int) -> None:
        self.subject, self.cohort, self.detector, self.engine, self.seed = subject, cohort, detector, engine, seed
        self.shared: dict[str, Any] = {}
        """What one audit computed and another may need, by name."""
        self.shelf = Shelf()
        """Where images are kept."""
        self._broken: list[str] = []
        self._refusals: dict[str, NotFiniteError] = {}

    @property
    def cases(self) -> tuple[Case, ...]:
        """The test cases, in the order of the table; without those that turned out to be unreadable."""
        return subset(self.cohort.cases, "test")

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """Test only."""
        return ("test",)

    @property
    def options(self) -> dict[str, Any]:
        """None beside the audits' parameters."""
        return {}

    def dry_run(self) -> None:
        """One image through the translator, back through its inverse where there is one, and through the detector."""
        images = self.cohort.load(self.cases[0])
        translated = self.subject.translate(images.image[None], 0)
        if self.inverse is not None:
            self.inverse.translate(translated, 0)
        if self.detector is not None:
            target = images.target if images.target is not None else images.image
            self.detector.read(for_detector(target, self.detector)[None])

    def deviations(self) -> list[str]:
        """Outputs that are no numbers, constant outputs, and one output for every input."""
        if "items" in self._refusals:
            return [self._refusals["items"].problem]
        if "items" not in vars(self):
            return []
        found = []
        constant = sum(bool(np.ptp(item.output) == 0) for item in self.items)
        if constant:
            found.append(f"The model's output is a constant image in {constant} of {len(self.items)} cases.")
        first = self.items[0].output
        if len(self.items) > 1 and all(np.array_equal(item.output, first) for item in self.items[1:]):
            found.append("The model's output is the same image for every input.")
        return found

    @cached_property
    def inverse(self) -> Subject | None:
        """The translator back to the source domain; None where the card names none.

        Raises:
            ModelError: what the card names cannot be loaded, or does not translate back.
        """
        try:
            return inverse_of(self.subject)
        except (ModelError, ConfigurationError) as error:
            named, card = self.subject.card.inverse, self.subject.path.name
            raise ModelError(
                f"inverse = {named!r} in the card of {card} cannot be used: {error.problem}",
                expected=error.expected,
                found=error.found,
                where=error.where,
                todo=error.todo,
            ) from error

    @cached_property
    def items(self) -> list[Item]:
        """Every test case, translated.

        Raises:
            NotFiniteError: some output holds NaN or infinity.
            DatasetError: a file cannot be read.
            ModelError: the model cannot be run on the images.
        """
        # Every audit asks; the model is not run again for the same answer.
        if "items" in self._refusals:
            raise self._refusals["items"]
        self._broken = []
        batches = self.engine.map(self._translate, self._batches(), label="Translating")
        if self._broken:
            self._refusals["items"] = NotFiniteError(
                f"The model returned NaN or infinity in {len(self._broken)} of {len(self.cases)} images.",
                expected="finite numbers in every output",
                found=f"first in {', '.join(self._broken[:5])}",
                where=self.subject.path,
                todo="Repair the model. Nothing is averaged over such images, so no measurement was made.",
            )
            raise self._refusals["items"]
        return [item for batch in batches for item in batch]

    def _batches(self) -> Streamed[list[tuple[Case, CaseImages]]]:
        cases = self.cases
        return batches_of(loaded(self.cohort, cases), len(cases), BATCH)

    def _translate(self, batch: list[tuple[Case, CaseImages]]) -> list[Item]:
        # Cases of one batch may differ in size; each size goes through the network by itself.
        outputs: dict[int, Float] = {}
        for shape in dict.fromkeys(images.image.shape for _, images in batch):
            same = [k for k, (_, images) in enumerate(batch) if images.image.shape == shape]
            seed = rng.child_seed(self.seed, "forward", batch[same[0]][0].case_id)
            translated = self.subject.translate(np.stack([batch[k][1].image for k in same]), seed)
            outputs.update(zip(same, translated, strict=True))
        return [self._kept(_item(case, images, outputs[k])) for k, (case, images) in enumerate(batch)]

    def _kept(self, item: Item) -> Item:
        """The item with its images where they stay for the run, and its name noted if the output is no numbers."""
        if not np.isfinite(item.output).all():
            self._broken.append(item.case.case_id)
        output, reference = item.channels
        output = self.shelf.keep(output)
        reference = None if reference is None else self.shelf.keep(reference)
        return replace(
            item,
            source=self.shelf.keep(item.source),
            output=self._grey(output),
            reference=None if reference is None else self._grey(reference),
            channels=(output, reference),
            lesion=None if item.lesion is None else self.shelf.keep(item.lesion),
            body=self.shelf.keep(item.body),
        )

    def _grey(self, image: Float) -> Float:
        """The mean over channels; of one channel a view."""
        return grey(image) if len(image) == 1 else self.shelf.keep(grey(image))

    @cached_property
    def paired(self) -> list[Item]:
        """Cases with a reference image."""
        return [item for item in self.items if item.reference is not None]

    @cached_property
    def readings(self) -> dict[str, Reading]:
        """The detector's reading of reference and output, by case id; cases without a reference are left out.

        Raises:
            RuntimeError: there is no detector (audits ask first).
            NotFiniteError: some logit is NaN or infinite.
        """
        detector = self.detector
        if detector is None:
            raise RuntimeError("no detector")
        if "readings" in self._refusals:
            raise self._refusals["readings"]
        unread: list[str] = []

        def read(batch: list[Item]) -> list[Reading]:
            out = []
            for item in batch:
                pair = [for_detector(image, detector) for image in (item.channels[1], item.channels[0])]
                logits = detector.read(np.stack(pair))
                if not np.isfinite(logits).all():
                    unread.append(item.case.case_id)
                out.append(Reading(self.shelf.keep(logits[0] > 0), self.shelf.keep(logits[1] > 0)))
            return out

        batches = [self.paired[k : k + BATCH] for k in range(0, len(self.paired), BATCH)]
        read_all = self.engine.map(read, batches, label="Reading lesions")
        if unread:
            self._refusals["readings"] = NotFiniteError(
                f"The detector returned NaN or infinity in {len(unread)} of {len(self.paired)} cases.",
                expected="finite lesion logits, on the real image and on the output",
                found=f"first in {', '.join(unread[:5])}",
                where=detector.path,
                todo="Repair the detector, or give another with --detector.",
            )
            raise self._refusals["readings"]
        flat = [reading for batch in read_all for reading in batch]
        return {item.case.case_id: reading for item, reading in zip(self.paired, flat, strict=True)}


def _item(case: Case, images: CaseImages, output: Float) -> Item:
    reference = None if images.target is None else grey(images.target)
    return Item(
        case=case,
        source=grey(images.image),
        output=grey(output),
        reference=reference,
        channels=(output, images.target),
        lesion=images.lesion_mask,
        body=body_mask(grey(images.image) if reference is None else reference),
        spacing_mm=images.spacing_mm,
        slice_mm=images.slice_mm,
    )
