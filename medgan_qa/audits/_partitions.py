"""The real images of a partition, read one after the other and kept small: what the audits of the partitions work on.

Works for the run of every suite: it needs the cohort, the engine and what audits share, nothing of the model. Of each
image stay a working image on a grid of 64 x 64, the digest of its pixels and the traces that augmentation leaves, which
are measured at full size; so 100,000 images take some 1.7 GB, whatever their size. Images of different sizes are
compared on that grid: the longer side is reduced to 64 pixels, and the rest of the square holds no image.

The image searched is `image`, what a model is given or learns from. Of a paired target the digest is kept alone, so
that a target that is repeated pixel by pixel is seen; a pair whose image was changed and whose target was changed as
well is found by the image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits.run import grey
from medgan_qa.cohorts.cohort import Case, CaseImages, Cohort, Partition, subset
from medgan_qa.cohorts.prefetch import prefetched
from medgan_qa.engines import Engine
from medgan_qa.metrics._working import WORKING_PX, Working, working
from medgan_qa.metrics.augmentation_traces import LINES, Traces, augmentation_traces

__all__ = ["PartitionedRun", "RealImages", "partition", "pixel_digest", "streamed"]

Float = NDArray[np.float32]
R = TypeVar("R")

BLOCK = 64
"""Cases that the engine is given at once."""


class PartitionedRun(Protocol):
    """A run whose real images lie in partitions: that of any suite."""

    cohort: Cohort
    engine: Engine
    seed: int
    shared: dict[str, Any]


@dataclass(frozen=True, eq=False)
class RealImages:
    """The images of one partition, small."""

    partition: Partition
    cases: tuple[Case, ...]
    """(N,) in the order of the table."""
    grey: Float
    """(N, 64, 64) working images in unit range, the mean over channels; what is no image is 0."""
    extent: Float
    """(N, 2) rows and columns of the working image that hold an image, in the middle of the grid."""
    sizes: NDArray[np.intp]
    """(N, 2) rows and columns of the image as it is stored."""
    digests: tuple[str, ...]
    """(N,) SHA-256 of the decoded pixels, see `pixel_digest`."""
    target_digests: tuple[str | None, ...]
    """(N,) the same of the paired target; None where there is none."""
    traces: Traces
    """(N,) each, measured at full size; NaN for images with a side below 24 pixels."""
    broken: NDArray[np.intp]
    """(N,) pixels that are not finite; they count as 0."""

    def __len__(self) -> int:
        return len(self.cases)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """(N,) case ids."""
        return tuple(case.case_id for case in self.cases)

    @cached_property
    def patients(self) -> tuple[str, ...]:
        """(N,) patient ids."""
        return tuple(case.patient_id for case in self.cases)

    @cached_property
    def volumes(self) -> tuple[str | None, ...]:
        """(N,) the volume that each image is a slice of; None for one that stands alone."""
        return tuple(case.volume for case in self.cases)

    @cached_property
    def working(self) -> Working:
        """Pixels with their extent, as the search takes them."""
        return Working(self.grey, self.extent)


class _Kept(NamedTuple):
    """What stays of one case."""

    small: Float
    extent: tuple[float, float]
    size: tuple[int, int]
    digest: str
    target: str | None
    traces: tuple[float, float, float]
    broken: int


def partition(run: PartitionedRun, which: Partition) -> RealImages | None:
    """The images of a partition, read on first use and kept for the run; None where the cohort has no such cases.

    Args:
        run: of any suite.
        which: `train`, `val` or `test`.

    Raises:
        DatasetError: a file of a case cannot be used.
    """
    key = f"real images {which}"
    if key not in run.shared:
        run.shared[key] = _read(run, which)
    found: RealImages | None = run.shared[key]
    return found


def streamed(run: PartitionedRun, cases: Sequence[Case], work: Callable[[Case, CaseImages], R], label: str) -> list[R]:
    """What `work` makes of each case, in order; pixels are read a few cases ahead, and let go once worked on."""

    def block(part: Sequence[Case]) -> list[R]:
        return [work(case, images) for case, images in prefetched(run.cohort, part)]

    parts = [cases[start : start + BLOCK] for start in range(0, len(cases), BLOCK)]
    return [made for done in run.engine.map(block, parts, label=label) for made in done]


def pixel_digest(image: NDArray[Any]) -> str:
    """SHA-256 (hex) of decoded pixels as float32 with their shape; 0 and -0 are the same."""
    # Adding zero turns -0 into 0.
    pixels = np.ascontiguousarray(np.asarray(image, np.float32) + np.float32(0))
    return hashlib.sha256(f"{pixels.shape} ".encode() + pixels.tobytes()).hexdigest()


def _read(run: PartitionedRun, which: Partition) -> RealImages | None:
    cases = subset(run.cohort.cases, which)
    if not cases:
        return None
    kept = streamed(run, cases, _kept, f"Reading {which} images for the audits of the partitions")
    return RealImages(
        which,
        cases,
        np.stack([k.small for k in kept]),
        np.array([k.extent for k in kept], np.float32),
        np.array([k.size for k in kept], np.intp),
        tuple(k.digest for k in kept),
        tuple(k.target for k in kept),
        Traces(*np.array([k.traces for k in kept], np.float64).T),
        np.array([k.broken for k in kept], np.intp),
    )


def _kept(case: Case, images: CaseImages) -> _Kept:
    picture = grey(images.image)
    finite = np.isfinite(picture)
    if not finite.all():
        picture = np.where(finite, picture, np.float32(0))
    small = working(picture, WORKING_PX)
    target = None if images.target is None else pixel_digest(images.target)
    return _Kept(
        small.pixels[0],
        (float(small.extent[0, 0]), float(small.extent[0, 1])),
        (picture.shape[0], picture.shape[1]),
        pixel_digest(images.image),
        target,
        _traced(picture),
        int((~finite).sum()),
    )


def _traced(picture: Float) -> tuple[float, float, float]:
    if min(picture.shape) < 3 * LINES:
        return (np.nan, np.nan, np.nan)
    filled, repeated, sharpness = augmentation_traces(picture[None])
    return float(filled[0]), float(repeated[0]), float(sharpness[0])
