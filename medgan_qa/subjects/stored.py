"""A set of ready-made synthetic images as a subject: a dataset whose images are handed out in the order of its table.

Whoever buys or receives synthetic images has no generator to audit, only the images; and what a model is trained on is
the set that was kept, after selection and curation, and not what the generator would draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.cohort import Case, label_of
from medgan_qa.cohorts.dataset import FileCohort, read_dataset
from medgan_qa.errors import ModelError
from medgan_qa.subjects.card import Card
from medgan_qa.subjects.protocols import Float, Subject

FORMAT = "stored set"


class _NoNetwork:
    """Stands where a network would: there is none behind a stored set."""

    def __call__(self, x: Float, seed: int) -> Float:
        raise ModelError(
            "A stored set of images is no model that could be run.",
            expected="a suite for samplers: synthesis or augmentation",
            found="a set of images",
            todo="Audit the generator itself for anything but its images.",
        )


@dataclass(frozen=True)
class StoredSet(Subject):
    """Synthetic images on disk, made by `read_stored_set`."""

    cohort: FileCohort | None = None
    stored: tuple[Case, ...] = ()
    """The images of the set, in the order of the table."""

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def names(self) -> tuple[str, ...]:
        """Case ids, in order."""
        return tuple(case.case_id for case in self.stored)

    @property
    def units(self) -> tuple[str, ...]:
        """The independent unit of each image: the table's patient_id."""
        return tuple(case.patient_id for case in self.stored)

    @cached_property
    def labels(self) -> tuple[str | None, ...]:
        """The class of each image: the table's label, else lesion or lesion-free by its mask; None where not given.

        Raises:
            DatasetError: a mask cannot be read.
        """
        assert self.cohort is not None
        # The pixels are wanted only where the mask has to tell.
        return tuple(
            case.label if case.label or not case.annotated else label_of(case, self.cohort.load(case))
            for case in self.stored
        )

    def sample(self, n: int, seed: int, first: int = 0, label: str | None = None) -> Float:
        """Images `first` to `first + n` of the set, or of those of one label; nothing is drawn, so no seed matters.

        Raises:
            ModelError: the set holds fewer, or images of several sizes.
            DatasetError: a file cannot be read.
        """
        chosen: Sequence[Case] = self.stored
        if label is not None:
            chosen = [case for case, known in zip(self.stored, self.labels, strict=True) if known == label]
        if first + n > len(chosen):
            raise self._too_few(first + n, len(chosen), label)
        assert self.cohort is not None
        images = [self.cohort.load(case).image for case in chosen[first : first + n]]
        if len({image.shape for image in images}) > 1:
            raise self._several_sizes(images)
        return np.stack(images) if images else np.empty((0, self.card.channels_out, 0, 0), np.float32)

    def _too_few(self, asked: int, there: int, label: str | None) -> ModelError:
        return ModelError(
            "More images were asked for than the stored set holds.",
            expected=f"at least {asked} images" + (f" labelled {label}" if label else ""),
            found=f"{there}",
            where=self.path,
            todo=f"Ask for at most {there} with --samples, or leave it out to take all.",
        )

    def _several_sizes(self, images: Sequence[NDArray[np.float32]]) -> ModelError:
        shapes = sorted({image.shape for image in images})
        return ModelError(
            "The images of the stored set differ in size.",
            expected="one size, that of the real images",
            found=f"{len(shapes)} sizes, among them {', '.join(map(str, shapes[:3]))} (channels, rows, columns)",
            where=self.path,
            todo="Crop or resample them to the size of the real images.",
        )


def is_dataset(model: str) -> bool:
    """Whether a command-line argument means a dataset: a TOML file, or a folder with one."""
    path = Path(model)
    try:
        return path.suffix.lower() == ".toml" or any(path.glob("*.toml"))
    except OSError:  # a name too long for the file system, a folder that may not be entered
        return False


def read_stored_set(path: Path) -> StoredSet:
    """Read a dataset as a set of synthetic images: every row of its table that is marked as synthetic.

    Args:
        path: the dataset's TOML file, or a folder with one.

    Raises:
        DatasetError: description, table or a file cannot be used.
        ModelError: no row is marked as synthetic.
    """
    cohort = read_dataset(path)
    stored = tuple(case for case in cohort.cases if case.synthetic)
    if not stored:
        raise ModelError(
            "The dataset is no set of synthetic images.",
            expected="the column synthetic with true in every row of a synthetic image",
            found=f"{len(cohort.cases)} rows, none of them marked",
            where=cohort.description.path,
            todo="Mark the synthetic images. A dataset of real ones is given with --data, and the model before it.",
        )
    channels = int(cohort.load(stored[0]).image.shape[0])
    named = sorted({case.label for case in stored if case.label})
    card = Card(
        name=cohort.name,
        version="as stored",
        task="synthesis",
        channels_in=channels,
        channels_out=channels,
        range_in=(0.0, 1.0),
        range_out=(0.0, 1.0),
        classes=tuple(named) if len(named) > 1 else (),
        output_role="training_only",
        extra={"images": len(stored), "file": str(cohort.description.path)},
    )
    return StoredSet(
        network=_NoNetwork(),
        card=card,
        path=cohort.description.path,
        format=FORMAT,
        sha256=cohort.digest(),
        device="cpu",
        cohort=cohort,
        stored=stored,
    )
