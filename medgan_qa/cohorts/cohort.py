"""What an audit is given to work on: cases, their images, and the digest of it all.

A cohort is read from files (`medgan_qa.cohorts.dataset`) or drawn (the embedded phantoms); audits see only what stands
here. Images are NumPy arrays in unit range, channel first: `image[c, y, x]`, y down the rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Partition = Literal["train", "val", "test"]
PARTITIONS: tuple[Partition, ...] = ("train", "val", "test")
LESION_FREE, LESION = "lesion-free", "lesion"
"""The classes of cases that have no label of their own."""


@dataclass(frozen=True)
class Case:
    """One image (or pair of images) of one patient, without its pixels."""

    case_id: str
    """Unique in the cohort."""
    patient_id: str
    """The independent unit of analysis; several cases may share it."""
    partition: Partition
    """The part of the data that the case belongs to, as declared."""
    has_target: bool
    """A paired reference image exists."""
    annotated: bool
    """Somebody looked for lesions. Where False, nothing is known about lesions in this case."""
    has_mask: bool
    """A lesion mask exists. An annotated case without one is lesion-free."""
    site: str | None = None
    """Where it was acquired; None where not given."""
    synthetic: bool = False
    """The image was generated, not acquired."""
    label: str | None = None
    """The class of the image where the table gives one (column `label`); else lesions tell."""
    attributes: dict[str, str] = field(default_factory=dict, hash=False)
    """Covariates by name (the `attr.NAME` columns); one that is not known for this case is absent."""
    spec: dict[str, Any] | None = field(default=None, hash=False)
    """The recorded drawing of a phantom case; None for an acquired one."""
    volume: str | None = None
    """The volume that this slice belongs to; None where it stands alone or nothing is known."""
    slice_index: int | None = None
    """Its place along the volume, counted from 0 in order of position."""
    study: str | None = None
    """The examination that it comes from; None where not given."""
    scanner: str | None = None
    """What it was acquired with; None where not given."""
    acquired: str | None = None
    """When it was acquired, as in the table: YYYY, YYYY-MM or YYYY-MM-DD; None where not given."""


@dataclass(frozen=True, eq=False)
class CaseImages:
    """The pixels of a case. Unit range: the cohort's `value_range` mapped to [0, 1]."""

    image: NDArray[np.float32]
    """(C, H, W), the source image, or the only one."""
    target: NDArray[np.float32] | None
    """(C, H, W), the paired reference, on the same grid, or on one finer by the dataset's `scale`."""
    lesion_mask: NDArray[np.bool_] | None
    """(H, W) on the grid of `target` where there is one. None: not annotated. All False: annotated as lesion-free."""
    spacing_mm: tuple[float, float]
    """Distance of neighbouring pixel centres of `image` in mm: (dy between rows, dx between columns)."""
    degrade: bool = False
    """`image` and `target` are both the truth, and the model's input is to be made from it."""
    slice_mm: float | None = None
    """Distance in mm of neighbouring slices of the volume, those with `slice_index` one apart; None where not known."""


@dataclass(frozen=True)
class ExcludedCase:
    """A case that was left out because it cannot be read, by the rule that the dataset declares."""

    case_id: str
    patient_id: str
    partition: Partition
    reason: str
    """What is wrong with it, in one line that names its row and column."""


@dataclass(frozen=True)
class Inventory:
    """A cohort's digest in parts, so that a change can be named."""

    description: str
    """SHA-256 of what defines the cohort beside its cases."""
    rows: dict[str, str]
    """SHA-256 of what is recorded of each case, by case id."""
    files: dict[str, str]
    """SHA-256 of every file's bytes, by path as the table gives it; empty where images are drawn."""


class Cohort(Protocol):
    """Cases with patients, partitions, images, reference images and lesion masks."""

    @property
    def name(self) -> str:
        """The name that reports print."""

    @property
    def value_range(self) -> tuple[float, float]:
        """The stored numbers that unit range 0 and 1 stand for."""

    @property
    def source_domain(self) -> str | None:
        """What `image` shows, e.g. `T1`; None where not given."""

    @property
    def target_domain(self) -> str | None:
        """What `target` shows, e.g. `FLAIR`; None where not given."""

    @property
    def lesion_in(self) -> tuple[str, ...]:
        """The images that lesions can be seen in: any of `source`, `target`; empty where not given."""

    @property
    def phantom(self) -> bool:
        """True if the images are drawn; such data is no evidence of clinical performance."""

    @property
    def cases(self) -> tuple[Case, ...]:
        """All cases of all partitions, in the order of the table; without those in `excluded`."""

    @property
    def excluded(self) -> tuple[ExcludedCase, ...]:
        """Cases that `require_readable` left out; empty where nothing was, and where no rule allows it."""

    def load(self, case: Case) -> CaseImages:
        """Read or draw the pixels of one case.

        Raises:
            DatasetError: a file of the case cannot be used.
        """

    def require_readable(self, partition: Partition | None = "test") -> None:
        """Read every case of a partition once (None: of all), so that a run does not stop half-way.

        Where the data declare how many unreadable cases may be left out, these go from `cases` to `excluded`.

        Raises:
            DatasetError: something cannot be read; all that is wrong is in the one message.
        """

    def digest(self) -> str:
        """SHA-256 (hex) of everything that defines the cohort: its description and every byte of its images."""

    def inventory(self) -> Inventory:
        """What `digest` is made of, part by part."""

    def describe(self) -> dict[str, Any]:
        """A summary for the Record that JSON can hold."""


def label_of(case: Case, images: CaseImages) -> str | None:
    """The class of a case: as the table gives it, else `lesion` or `lesion-free`; None where nobody looked."""
    if case.label is not None or images.lesion_mask is None:
        return case.label
    return LESION if images.lesion_mask.any() else LESION_FREE


def subset(cases: Iterable[Case], partition: Partition) -> tuple[Case, ...]:
    """The cases of one partition, in the order given."""
    return tuple(case for case in cases if case.partition == partition)


def patients(cases: Iterable[Case]) -> tuple[str, ...]:
    """The distinct patients of `cases`, sorted."""
    return tuple(sorted({case.patient_id for case in cases}))


def to_unit(stored: ArrayLike, value_range: tuple[float, float]) -> NDArray[np.float32]:
    """Map stored numbers linearly so that `value_range` becomes [0, 1]; nothing is clipped.

    Computed in float64, returned as float32.
    """
    low, high = value_range
    unit = np.array(stored, np.float64)
    # In place: a slice of the largest size that is read takes half a GB in float64.
    unit -= low
    unit /= high - low
    return unit.astype(np.float32)


def from_unit(unit: ArrayLike, value_range: tuple[float, float]) -> NDArray[np.float64]:
    """Map unit range back to stored numbers, the inverse of `to_unit`, in float64."""
    low, high = value_range
    return np.asarray(unit, np.float64) * (high - low) + low
