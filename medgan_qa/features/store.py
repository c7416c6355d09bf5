"""Features that were computed once and are kept, found by what the image holds and not by what it is called.

A key is the SHA-256 of the decoded pixels and their shape, together with the extractor's identity (name, version,
digest, preprocessing). A retrained model makes other images, so its features are computed; those of the real images
are found. Values come back bit for bit as they were computed. A store that cannot be used costs time and a warning,
never a run and never a wrong number.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from medgan_qa.engines import Engine, LocalEngine
from medgan_qa.errors import ConfigurationError, ModelError
from medgan_qa.features import _database
from medgan_qa.features.extractor import Extractor, extract, identity

Float = NDArray[np.float32]
T = TypeVar("T")

FOLDER_VARIABLE = "MEDGAN_QA_CACHE"
LIMIT_VARIABLE = "MEDGAN_QA_CACHE_LIMIT"
DEFAULT: Final = "default"
DEFAULT_BYTES = 2_000_000_000
BATCH = 64
"""Images handed to the extractor at once, and written in one transaction."""
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class Contents(NamedTuple):
    """What a store holds."""

    path: Path | None
    bytes: int
    """Size of the file and of its log; 0 where there is none."""
    max_bytes: int
    entries: list[_database.Entry]
    """By extractor."""


def default_folder() -> Path:
    """`$MEDGAN_QA_CACHE`, else `$XDG_CACHE_HOME/medgan-qa`, else `~/.cache/medgan-qa`."""
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named)
    shared = os.environ.get("XDG_CACHE_HOME", "")
    # the XDG specification has relative paths ignored
    return (Path(shared) if Path(shared).is_absolute() else Path("~/.cache").expanduser()) / "medgan-qa"


def default_limit() -> int:
    """`$MEDGAN_QA_CACHE_LIMIT` (bytes, or a number with KB, MB, GB or TB, powers of 1000), else 2 GB.

    Raises:
        ConfigurationError: the variable is no size.
    """
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    if not text:
        return DEFAULT_BYTES
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.upper())
    if match is None:
        raise ConfigurationError(
            "The bound of the feature store is no size.",
            expected="a number of bytes, or one with KB, MB, GB or TB, such as 500MB",
            found=text,
            where=f"environment variable {LIMIT_VARIABLE}",
            todo=f"Correct {LIMIT_VARIABLE}, or unset it for 2 GB.",
        )
    return math.floor(float(match[1]) * _UNITS[match[2]])


def image_key(image: Float) -> bytes:
    """SHA-256 (32 bytes) of a float32 image's shape and pixels."""
    shape = ",".join(map(str, image.shape)).encode()
    return hashlib.sha256(shape + b":" + np.ascontiguousarray(image, dtype="<f4").tobytes()).digest()


class FeatureStore:
    """Computes features, and keeps them in one file that runs share.

    Args:
        folder: where the file is; None keeps nothing; `default_folder()` if not given.
        max_bytes: bound of the file's size; what was used longest ago goes first. `default_limit()` if not given.

    Attributes:
        hits: images whose features were found, over all calls; an image that comes twice in a call counts twice.
        computed: images that were computed.
        warnings: what went wrong with the file, one sentence each.

    Raises:
        ConfigurationError: `$MEDGAN_QA_CACHE_LIMIT` is no size.
    """

    def __init__(self, folder: Path | Literal["default"] | None = DEFAULT, max_bytes: int | None = None) -> None:
        self.max_bytes = default_limit() if max_bytes is None else max_bytes
        self.hits, self.computed = 0, 0
        self.warnings: list[str] = []
        self.folder = self._default_folder() if folder == DEFAULT else folder
        self._usable = self.folder is not None

    @property
    def path(self) -> Path | None:
        """The file; None where nothing is kept."""
        return None if self.folder is None else self.folder / f"features-{_database.FORMAT}.sqlite3"

    @property
    def usable(self) -> bool:
        """Whether features are kept, as far as is known by now."""
        return self._usable

    def compute(
        self, extractor: Extractor, images: Float, engine: Engine | None = None, label: str = "Features"
    ) -> Float:
        """Features of images, computed where they are not in the store; images that are equal are computed once.

        Each batch is kept as soon as it is computed, so a run that is killed need not begin again. Batches are made of
        what is missing, and where an extractor's rounding depends on the batch, so do the last digits.

        Args:
            extractor: where features come from.
            images: float32 (N, C, H, W) in unit range, N >= 1.
            engine: maps over batches; this process if None.
            label: says what is going on, for a progress display.

        Returns:
            float32 (N, D), finite, in the order of the images.

        Raises:
            ValueError: not float32 (N, C, H, W), or no images.
            ModelError: NaN or infinity in an image; the extractor's features cannot be used; whatever else it raises.
        """
        _require_images(images)
        owner = _database.Owner(identity(extractor), extractor.name, extractor.version, extractor.digest)
        keys = [image_key(image) for image in images]
        first = {key: index for index, key in reversed(list(enumerate(keys)))}
        nothing: dict[bytes, Float] = {}
        found = self._use(lambda db: _database.read(db, owner, list(first)), nothing)
        missing = sorted(index for key, index in first.items() if key not in found)
        self.hits += sum(key in found for key in keys)
        self.computed += len(missing)
        known = list(found)

        def work(batch: Sequence[int]) -> dict[bytes, Float]:
            rows = extract(extractor, images[list(batch)])
            made = {keys[index]: row for index, row in zip(batch, rows, strict=True)}
            self._use(lambda db: _database.write(db, owner, made), None)
            return made

        batches = [missing[k : k + BATCH] for k in range(0, len(missing), BATCH)]
        for made in (engine or LocalEngine()).map(work, batches, label=label) if batches else []:
            found |= made
        self._use(lambda db: self._keep_within_bound(db, owner, known), None)
        return _stacked(extractor, [found[key] for key in keys])

    def contents(self) -> Contents:
        """What is there; nothing is made where there is nothing."""
        path = self.path
        if path is None or not self._is_there(path):
            return Contents(path, 0, self.max_bytes, [])
        nothing: list[_database.Entry] = []
        found = self._use(_database.entries, nothing)
        return Contents(path, _size(path), self.max_bytes, found)

    def clear(self, name: str | None = None) -> int:
        """Remove the features of the extractors called `name`, or everything, a damaged file set aside too.

        Returns:
            Images whose features were removed.
        """
        path = self.path
        if path is None or not self._is_there(path.parent):
            return 0
        if name is None:
            self._use(lambda _: _database.remove_aside(path), None)
        return self._use(lambda db: _database.clear(db, name), 0)

    def _default_folder(self) -> Path | None:
        try:
            return default_folder()
        except RuntimeError:  # no home folder, as in some containers
            self._warn(f"Features are not kept: there is no home folder. Name a folder in {FOLDER_VARIABLE}.")
            return None

    def _is_there(self, path: Path) -> bool:
        try:
            return path.exists()
        except OSError as error:
            self._give_up(path, error)
            return False

    def _keep_within_bound(self, db: sqlite3.Connection, owner: _database.Owner, used: list[bytes]) -> None:
        _database.touch(db, owner, used)
        _database.evict(db, self.max_bytes)

    def _use(self, action: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """What `action` gives on the open database; `otherwise`, and a warning, where it cannot be used."""
        path = self.path
        if path is None or not self._usable:
            return otherwise
        inode = None
        try:
            with _database.opened(path) as db:
                inode = path.stat().st_ino
                return action(db)
        except _database.Damaged as error:
            self._replace(path, inode, error)
        except (sqlite3.Error, OSError) as error:
            self._give_up(path, error)
        return otherwise

    def _replace(self, path: Path, inode: int | None, damage: Exception) -> None:
        try:
            aside = _database.set_aside(path, path.stat().st_ino if inode is None else inode)
        except OSError as error:
            self._give_up(path, error)
            return
        self._warn(
            f"The feature store {path} is damaged ({damage}). It was set aside as {aside.name} and is built anew; "
            "features are computed again."
        )

    def _give_up(self, path: Path, error: Exception) -> None:
        self._usable = False
        self._warn(
            f"The feature store {path} cannot be used ({error}); features are computed and not kept. Make the folder "
            f"writable, or name another in {FOLDER_VARIABLE}."
        )

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def _require_images(images: Float) -> None:
    if images.ndim != 4 or images.dtype != np.float32 or len(images) == 0:
        raise ValueError(f"images must be float32 (N, C, H, W) with N >= 1, got {images.dtype} {images.shape}")
    bad = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
    if bad.size:
        raise ModelError(
            "Images hold values that are no numbers, so they have no features.",
            expected="finite pixels",
            found=f"NaN or infinity in {bad.size} of {len(images)} images, the first at position {bad[0]}",
            todo="Check the model that made the images, or the files that they were read from.",
        )


def _stacked(extractor: Extractor, rows: list[Float]) -> Float:
    widths = sorted({len(row) for row in rows})
    if len(widths) > 1:
        raise ModelError(
            "The extractor gives images of one shape different numbers of features.",
            expected="one number",
            found=", ".join(map(str, widths)),
            where=extractor.name,
            todo="Correct the extractor; if its code was changed, raise its version, so that older features are left.",
        )
    return np.stack(rows)


def _size(path: Path) -> int:
    files = [Path(f"{path}{suffix}") for suffix in ("", "-wal")]
    return sum(file.stat().st_size for file in files if file.exists())
