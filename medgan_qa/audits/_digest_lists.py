"""Lists of images by their digest: which test images stand on one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits._partitions import PartitionedRun, streamed
from medgan_qa.cohorts.cohort import Case, CaseImages, Cohort, subset
from medgan_qa.cohorts.dataset import FileCohort
from medgan_qa.errors import InputError


def pixel_digest(image: NDArray[Any]) -> str:
    """SHA-256 of an image (C, H, W) as it is read: little-endian float32 in unit range, row by row."""
    return hashlib.sha256(np.ascontiguousarray(image, dtype="<f4").tobytes()).hexdigest()


def listed(path: str, parameter: str) -> frozenset[str] | None:
    """Digests on a list, in lower case; None where none was given.

    Raises:
        InputError: the list cannot be read, or a line does not begin with a digest.
    """
    if not path:
        return None
    try:
        lines = Path(path).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path, parameter, f"{type(error).__name__}: {error}") from error
    words = [
        (number, line.split()[0].lower()) for number, line in enumerate(lines, 1) if line.strip() and line[0] != "#"
    ]
    for number, word in words:
        if len(word) != 64 or set(word) - set("0123456789abcdef"):
            raise _unusable(path, parameter, f"{word[:80]!r} in line {number}")
    return frozenset(word for _, word in words)


def _unusable(path: str, parameter: str, found: str) -> InputError:
    what = "generated" if parameter == "declared" else "train-only"
    return InputError(
        f"The list of {what} images cannot be used.",
        expected="a text file whose lines begin with a SHA-256, as sha256sum writes it",
        found=found,
        where=path,
        todo=f"Correct the file, or {parameter} in [parameters.HYG-003] of the criteria, relative to the working "
        "folder.",
    )


def on_lists(run: PartitionedRun, lists: dict[str, frozenset[str]]) -> dict[str, set[str]]:
    """Test images whose file or pixels are on each list, by case id; nothing is read where there is no list."""
    if not lists:
        return {}
    cases = subset(run.cohort.cases, "test")
    digests = streamed(run, cases, _every_digest, "Holding test images against the lists")
    files = _file_digests(run.cohort, cases)
    return {
        name: {
            case.case_id
            for case, of_pixels in zip(cases, digests, strict=True)
            if not listed.isdisjoint({*of_pixels, files.get(case.case_id, "")})
        }
        for name, listed in lists.items()
    }


def _every_digest(case: Case, images: CaseImages) -> tuple[str, ...]:
    """Digests of the image and, where there is one, of the target."""
    return tuple(pixel_digest(image) for image in (images.image, images.target) if image is not None)


def _file_digests(cohort: Cohort, cases: tuple[Case, ...]) -> dict[str, str]:
    """SHA-256 of every case's image file; empty for images that are drawn."""
    return {case.case_id: cohort.file_digest(case) for case in cases} if isinstance(cohort, FileCohort) else {}
