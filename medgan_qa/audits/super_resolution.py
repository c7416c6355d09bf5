"""A super-resolution run: every test case degraded as declared or read as it is, upscaled once and read once."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits.run import for_detector, grey
from medgan_qa.audits.translation import Item, TranslationRun
from medgan_qa.cohorts.cohort import Case, CaseImages, Cohort
from medgan_qa.cohorts.degraded import model_input
from medgan_qa.engines import Engine
from medgan_qa.errors import DatasetError, ModelError
from medgan_qa.metrics import body_mask
from medgan_qa.metrics.degradation import Degradation, declared
from medgan_qa.metrics.upsampling import bicubic, repeated
from medgan_qa.subjects.protocols import Subject

Float = NDArray[np.float32]


class SuperResolutionRun(TranslationRun):
    """Subject, cohort and detector, with everything computed from them once.

    Items are as in translation, on the grid of the output: `source` is the input brought onto it by cubic convolution
    (itself at scale (1, 1)), `reference` the truth.

    Args:
        subject: the super-resolver under audit.
        cohort: truths that are to be degraded, or inputs with their truths; its `test` partition is used.
        detector: reads lesions in images of the output's grid; None where there is none.
        engine: maps over batches.
        seed: the run's seed.
    """

    def __init__(self, subject: Subject, cohort: Cohort, detector: Subject | None, engine: Engine, seed: int) -> None:
        super().__init__(subject, cohort, detector, engine, seed)
        card = subject.card
        self.scale = card.scale or (1, 1)
        self.operator: Degradation | None = None
        """How inputs come from truths; None where the card does not say."""
        if card.degradation is not None:
            self.operator = declared(card.degradation, self.scale)
        self.inputs: dict[str, Float] = {}
        """What the model was given, (C, h, w) by case id; filled with `items`."""

    @property
    def options(self) -> dict[str, Any]:
        """The operator that inputs were made with, or are held against."""
        return {} if self.operator is None else {"degradation": self.operator.as_dict()}

    def dry_run(self) -> None:
        """One image through the super-resolver and the detector.

        Raises:
            ModelError: the model cannot be run, or its card does not say how truths are to be degraded.
            DatasetError: a truth is not of the size that the card's scale asks for.
        """
        case = self.cases[0]
        images = self.cohort.load(case)
        given = self._input(case, images)
        output = self.subject.upscale(given[None], 0)[0]
        truth = _truth(images)
        if truth is not None and truth.shape[1:] != output.shape[1:]:
            raise self._other_size(case, truth, given)
        if self.detector is not None:
            self.detector.read(for_detector(output if truth is None else truth, self.detector)[None])

    def truth(self, case_id: str) -> Float | None:
        """The truth of a case with all its channels, (C, H, W); None where there is none."""
        return self._by_case[case_id].channels[1]

    @cached_property
    def comparators(self) -> dict[str, dict[str, Float]]:
        """The inputs upsampled without learning, (H, W) by case id: `bicubic` and `nearest`."""
        grey_inputs = {item.case.case_id: grey(self.inputs[item.case.case_id]) for item in self.items}
        ways = {"bicubic": bicubic, "nearest": repeated}
        keep = self.shelf.keep
        return {name: {k: keep(way(x, self.scale)) for k, x in grey_inputs.items()} for name, way in ways.items()}

    @cached_property
    def _by_case(self) -> dict[str, Item]:
        return {item.case.case_id: item for item in self.items}

    def _translate(self, batch: list[tuple[Case, CaseImages]]) -> list[Item]:
        given = [self._input(case, images) for case, images in batch]
        outputs: dict[int, Float] = {}
        for shape in dict.fromkeys(x.shape for x in given):
            same = [k for k, x in enumerate(given) if x.shape == shape]
            seed = rng.child_seed(self.seed, "forward", batch[same[0]][0].case_id)
            outputs.update(zip(same, self.subject.upscale(np.stack([given[k] for k in same]), seed), strict=True))
        self.inputs.update({case.case_id: self.shelf.keep(x) for (case, _), x in zip(batch, given, strict=True)})
        return [self._kept(self._item(*held, given[k], outputs[k])) for k, held in enumerate(batch)]

    def _item(self, case: Case, images: CaseImages, given: Float, output: Float) -> Item:
        truth = _truth(images)
        if truth is not None and truth.shape[1:] != output.shape[1:]:
            raise self._other_size(case, truth, given)
        source = bicubic(grey(given), self.scale)
        reference = None if truth is None else grey(truth)
        finer = (1, 1) if images.degrade else self.scale
        return Item(
            case=case,
            source=source,
            output=grey(output),
            reference=reference,
            channels=(output, truth),
            lesion=images.lesion_mask,
            body=body_mask(source if reference is None else reference),
            spacing_mm=(images.spacing_mm[0] / finer[0], images.spacing_mm[1] / finer[1]),
            slice_mm=images.slice_mm,
        )

    def _input(self, case: Case, images: CaseImages) -> Float:
        if images.degrade and self.operator is None:
            raise ModelError(
                "The card does not say how the inputs of the model come from truths.",
                expected="a table [degradation] in the card, since the dataset holds truths alone (degrade = true)",
                found="no such table",
                where=self.subject.path,
                todo="Declare it, or give a dataset of low-resolution images with their truths (scale = ...).",
            )
        try:
            return model_input(self.operator, images, case.case_id)
        except ValueError as error:
            raise DatasetError(
                "A truth cannot be degraded as the card declares.",
                expected=f"rows in multiples of {self.scale[0]} and columns in multiples of {self.scale[1]}",
                found=f"case {case.case_id}: {error}",
                where=self.cohort.name,
                todo="Crop or pad the images to such a size.",
            ) from error

    def _other_size(self, case: Case, truth: Float, given: Float) -> DatasetError:
        (h, w), (rows, columns) = given.shape[1:], self.scale
        return DatasetError(
            "A truth is not on the grid of the model's output.",
            expected=f"{rows * h} rows x {columns * w} columns: {rows} and {columns} times the input, as the card says",
            found=f"{truth.shape[1]} rows x {truth.shape[2]} columns in case {case.case_id}",
            where=self.cohort.name,
            todo="Correct scale in the dataset file, or in the card.",
        )


def _truth(images: CaseImages) -> Float | None:
    return images.image if images.degrade else images.target
