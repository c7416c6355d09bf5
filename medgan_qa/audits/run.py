"""What every run is to the runner, whatever its suite: dry run, data to read, deviations to report."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.cohort import Cohort, Partition
from medgan_qa.errors import MedganQAError
from medgan_qa.subjects.protocols import Subject

Float = NDArray[np.float32]


class NotFiniteError(MedganQAError):
    """The model returned NaN or infinity, so nothing that is computed from its images means anything."""


class Run(Protocol):
    """Subject and cohort with everything that the audits of one suite share, computed once."""

    subject: Subject
    cohort: Cohort
    detector: Subject | None
    seed: int
    shared: dict[str, Any]
    """What audits work out once for each other, and what the caller of the run knows beside the data: `context`."""

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """The partitions of the cohort that the run reads, the required one first."""

    @property
    def options(self) -> dict[str, Any]:
        """What the run was asked for beside the audits' parameters, for the Record."""

    def dry_run(self) -> None:
        """One image through every model, so that a wrong shape ends the run before it begins.

        Raises:
            ModelError: a model cannot be run on the cohort.
        """

    def deviations(self) -> list[str]:
        """What a reader has to know about the model's behaviour in the run, once the audits have run."""


def for_detector(image: Float | None, detector: Subject) -> Float:
    """An image as the detector takes it: all channels, or their mean for one that reads grey."""
    assert image is not None
    return grey(image)[None] if detector.card.channels_in == 1 else image


def grey(image: Float) -> Float:
    """(C, H, W) to (H, W): lesions are read in the mean over channels."""
    grey: Float = image[0] if image.shape[0] == 1 else image.mean(axis=0, dtype=np.float32)
    return grey
