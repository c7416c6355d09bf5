"""Reading the files of a case: image, target and lesion mask, on one grid; single files or slices of volumes."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts._about import Told
from medgan_qa.cohorts._same_place import require_same_place, unfit
from medgan_qa.cohorts.cohort import CaseImages, to_unit
from medgan_qa.cohorts.description import Description
from medgan_qa.cohorts.readers import ArrayCache, Spacing, Volume, open_volume, read_image, read_mask, read_spacing
from medgan_qa.cohorts.slices import Source

_RANGE_TOLERANCE = 1e-3  # of the range; what resampling and rounding may overshoot
_SPACING_TOLERANCE = 0.01  # of the spacing
Float = NDArray[np.float32]
Bool = NDArray[np.bool_]


class _Read(NamedTuple):
    image: Float
    spacing: Spacing | None
    volume: Volume | None


class CaseFiles:
    """Reads the files that rows name, and remembers what it saw of them; several threads may use it.

    Args:
        description: of the dataset.
        value_range: the stored numbers that unit range 0 and 1 stand for.
        cache: keeps what can only be unpacked as a whole.
        volumes: images that were opened already, by the number of their row.
    """

    def __init__(
        self, description: Description, value_range: tuple[float, float], cache: ArrayCache, volumes: dict[int, Volume]
    ) -> None:
        self._description, self._value_range, self._cache = description, value_range, cache
        self._volumes = {(number, "image"): volume for number, volume in volumes.items()}
        self._spacings: dict[tuple[int, int | None], Spacing | None] = {}
        self._lesions: dict[tuple[int, int | None], bool] = {}
        self._opening = threading.Lock()

    def load(self, source: Source, case_id: str, annotated: bool) -> CaseImages:
        """The images of a case.

        Raises:
            DatasetError: told by case, row and column.
            MissingDependencyError: a library that a format needs is not installed.
        """
        image = self._image(source, case_id)
        target, grid = self._target(source, image, case_id)
        mask = self._mask(source, image, grid, case_id, annotated)
        volume, spacing = image.volume, image.spacing or (1.0, 1.0)
        slice_mm = None if volume is None else volume.slice_mm
        return CaseImages(image.image, target, mask, spacing, self._description.degrade, slice_mm)

    def spacing(self, source: Source, case_id: str) -> Spacing | None:
        """The pixel spacing that a case's image carries; the file is opened only if it was not read before.

        Raises:
            DatasetError: its header cannot be read.
        """
        key = source.key
        if key not in self._spacings:
            with self._told(source, "image", case_id) as path:
                volume = self._volumes.get((source.row.number, "image"))
                self._spacings[key] = read_spacing(path) if volume is None else volume.spacing_mm
        return self._spacings[key]

    def has_lesion(self, source: Source, case_id: str) -> bool:
        """Whether a case's mask has an element that is not zero; the file is read only if it was not before.

        Raises:
            DatasetError: it cannot be read.
        """
        if "lesion_mask" not in source.row.cells:
            return False
        key = source.key
        if key not in self._lesions:
            with self._told(source, "lesion_mask", case_id) as path:
                self._lesions[key] = bool(self._mask_pixels(source, path).any())
        return self._lesions[key]

    def notes(self) -> list[str]:
        """What had to be assumed about volumes, each once."""
        return sorted({note for volume in list(self._volumes.values()) for note in volume.stack.notes})

    def volume_of(self, source: Source) -> Volume | None:
        """The volume that a case's image is a slice of."""
        return None if source.slice_index is None else self._volumes[source.row.number, "image"]

    def _told(self, source: Source, column: str, case_id: str) -> AbstractContextManager[Path]:
        description = self._description
        return Told(
            description.path.parent, description.table.name, source.row, column, case_id, description.identifiers
        ).told()

    def _image(self, source: Source, case_id: str) -> _Read:
        with self._told(source, "image", case_id) as path:
            volume = self.volume_of(source)
            stored, spacing = read_image(path) if volume is None else (volume.read(source.at), volume.spacing_mm)
            self._spacings[source.key] = spacing
            declared = self._description.spacing_mm
            _require_spacing(spacing, declared, path)
            return _Read(self._unit(stored, path), spacing or declared, volume)

    def _target(self, source: Source, image: _Read, case_id: str) -> tuple[Float | None, tuple[int, ...]]:
        """The reference image, and the grid that the mask lies on."""
        shape, given = image.image.shape[1:], "target" in source.row.cells
        with self._told(source, "target", case_id) as path:
            if self._description.degrade:
                if given:
                    _refuse_target(path)
                return image.image, shape
            rows, columns = self._description.scale
            grid = (rows * shape[0], columns * shape[1])
            if not given:
                return None, grid
            finer = None if image.spacing is None else (image.spacing[0] / rows, image.spacing[1] / columns)
            volume = self._partner(source, image, "target", path, (rows, columns))
            stored, spacing = read_image(path) if volume is None else (volume.read(source.at), volume.spacing_mm)
            _require_grid(stored.shape[1:], grid, path)
            _require_spacing(spacing, finer, path)
            return self._unit(stored, path), grid

    def _mask(self, source: Source, image: _Read, grid: tuple[int, ...], case_id: str, annotated: bool) -> Bool | None:
        if "lesion_mask" not in source.row.cells:
            return np.zeros(grid, np.bool_) if annotated else None
        with self._told(source, "lesion_mask", case_id) as path:
            factors = (1, 1) if self._description.degrade else self._description.scale
            self._partner(source, image, "lesion_mask", path, factors)
            mask = self._mask_pixels(source, path)
            _require_grid(mask.shape, grid, path)
            self._lesions[source.key] = bool(mask.any())
            return mask

    def _mask_pixels(self, source: Source, path: Path) -> Bool:
        if source.slice_index is None:
            return read_mask(path)
        return self._opened(source, "lesion_mask", path).read_mask(source.at)

    def _partner(
        self, source: Source, image: _Read, column: str, path: Path, factors: tuple[int, int]
    ) -> Volume | None:
        """The volume that a target or mask is a slice of, which has to lie where the image's does."""
        if image.volume is None:
            return None
        volume = self._opened(source, column, path)
        require_same_place(image.volume, volume, factors)
        return volume

    def _opened(self, source: Source, column: str, path: Path) -> Volume:
        key = (source.row.number, column)
        with self._opening:
            if key not in self._volumes:
                volumes = self._description.volumes
                assert volumes is not None
                opened = open_volume(path, volumes.plane, self._cache, mask=column == "lesion_mask")
                if opened is None:
                    raise unfit(
                        path, "has one slice, and its image has several", "a volume", "one image", "Give a volume."
                    )
                self._volumes[key] = opened
            return self._volumes[key]

    def _unit(self, stored: Float, path: Path) -> Float:
        low, high = self._value_range
        if self._description.windowed:
            return to_unit(np.clip(stored, low, high), self._value_range)
        slack = _RANGE_TOLERANCE * (high - low)
        least, most = float(stored.min()), float(stored.max())
        if least < low - slack or most > high + slack:
            todo = "Correct value_range in the dataset file, or give window instead if numbers shall be clipped."
            found, expected = f"{least:g} to {most:g}", f"{low:g} to {high:g}"
            raise unfit(path, "holds numbers outside value_range", expected, found, todo)
        return to_unit(stored, self._value_range)


def _refuse_target(path: Path) -> NoReturn:
    raise unfit(
        path,
        "is the target of a case whose input is made from its image",
        "no target where the dataset says degrade = true: the image itself is the truth",
        "a target",
        "Leave the column target empty, or take degrade out and give low-resolution images with scale.",
    )


def _require_grid(found: tuple[int, ...], expected: tuple[int, ...], path: Path) -> None:
    if found != expected:
        raise unfit(
            path,
            "is not on the grid of its image",
            f"{expected[0]} rows x {expected[1]} columns",
            f"{found[0]} rows x {found[1]} columns",
            "Resample it to the image's grid, or correct the row.",
        )


def _require_spacing(found: Spacing | None, expected: Spacing | None, path: Path) -> None:
    if found is None or expected is None:
        return
    if any(abs(f - e) > _SPACING_TOLERANCE * e for f, e in zip(found, expected, strict=True)):
        raise unfit(
            path,
            "carries another pixel spacing than the dataset file or its image",
            f"{expected[0]:g} x {expected[1]:g} mm (dy x dx), within 1 %",
            f"{found[0]:g} x {found[1]:g} mm",
            "Correct spacing_mm in the dataset file, or the header of this file.",
        )
