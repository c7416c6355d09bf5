"""One file of a folder of images: what its name and its folders say it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

from medgan_qa.cohorts.proposal.names import (
    ANATOMY_WORDS,
    BIDS,
    CONTRASTS,
    LESION_WORDS,
    MASK_WORDS,
    contrast_of,
    is_image_folder,
    is_mask_folder,
    partition_of,
    patient_in,
    stem,
    tokens,
)

Role = Literal["image", "mask", "anatomy"]
_ALWAYS_MASKS = {"dseg", "probseg", "aseg", "aparc", "brainmask", "defacemask"}


class Picture(NamedTuple):
    """A file, and what is read from its path."""

    path: PurePosixPath
    role: Role
    lesion: bool
    """The name or the folder speaks of lesions."""
    surely: bool
    """It is a mask by more than that: a name with `lesion` in it may be an image of one."""
    contrast: str | None
    partition: str | None
    folders: tuple[str, ...]
    """Folders that say neither role, partition nor contrast."""
    key: tuple[str, ...]
    """What the images, the reference and the mask of one case have in common."""
    patient: str | None
    """By a usual pattern (`sub-01`, `patient007`); None where the path holds none."""
    session: str | None

    @property
    def is_bids(self) -> bool:
        """The name carries a BIDS subject."""
        return self.path.name.startswith("sub-")


def picture(path: PurePosixPath, wished: Sequence[str]) -> Picture:
    """Read a path.

    Args:
        path: relative to the folder that was given.
        wished: contrasts that the user named.
    """
    name, folders = stem(path), path.parts[:-1]
    words = tokens(name)
    role = _role(words, folders)
    contrast = contrast_of(words, wished) or contrast_of([folder.lower() for folder in folders], wished)
    partition = partition_of(folders)
    plain = tuple(folder for folder in folders if not _says_kind(folder, wished))
    entities = dict(BIDS.findall(name))
    if "sub" in entities:
        key: tuple[str, ...] = (f"sub-{entities['sub']}", *(f"{e}-{entities[e]}" for e in ("ses",) if e in entities))
        patient: str | None = key[0]
    else:
        left = [word for word in words if word not in MASK_WORDS | LESION_WORDS and word != contrast]
        key = (partition or "", *plain, "_".join(left))
        patient = next((p for text in (*reversed(plain), name) if (p := patient_in(text)) is not None), None)
    places = {folder.lower() for folder in folders}
    lesion = bool(LESION_WORDS & {*words, *places})
    surely = bool(set(words) & (MASK_WORDS | _ALWAYS_MASKS)) or any(map(is_mask_folder, places - LESION_WORDS))
    return Picture(path, role, lesion, surely, contrast, partition, plain, key, patient, entities.get("ses"))


def _role(words: Sequence[str], folders: Sequence[str]) -> Role:
    held = set(words)
    is_mask = bool(held & (MASK_WORDS | LESION_WORDS | _ALWAYS_MASKS)) or any(map(is_mask_folder, folders))
    if not is_mask:
        return "image"
    return "anatomy" if held & ANATOMY_WORDS and not held & LESION_WORDS else "mask"


def _names_contrast(folder: str, wished: Sequence[str]) -> bool:
    return folder.lower() in CONTRASTS or folder.lower() in [wish.lower() for wish in wished]


def _says_kind(folder: str, wished: Sequence[str]) -> bool:
    return (
        is_mask_folder(folder)
        or is_image_folder(folder)
        or partition_of([folder]) is not None
        or _names_contrast(folder, wished)
        or folder.lower() in ("derivatives", "rawdata")
    )
