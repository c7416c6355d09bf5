"""What folder and file names say by custom: partitions, contrasts, masks, patients."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

PARTITION_WORDS = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "ts", "holdout", "heldout"), "test"),
}
IMAGE_FOLDERS = {"image", "images", "img", "imgs", "scans", "anat", "data", "raw"}
MASK_FOLDERS = {"mask", "masks", "label", "labels", "seg", "segs", "segmentations", "lesion", "lesions", "annotations"}
LESION_WORDS = {"lesion", "lesions", "tumor", "tumour", "wmh", "stroke", "nodule", "metastases"}
MASK_WORDS = {"mask", "masks", "seg", "label", "labels", "roi", "annotation", "gt"}
ANATOMY_WORDS = {
    *("brain", "brainmask", "skull", "head", "tissue", "gm", "wm", "csf", "aseg", "aparc", "dseg", "probseg"),
    *("ventricles", "lung", "lungs", "body", "defacemask"),
}
"""A mask of these is no mask of lesions."""
CONTRASTS = (
    *("t1w", "t2w", "pdw", "t1ce", "t1c", "t1gd", "t1post", "t1", "t2", "t2star", "pd", "flair", "stir", "swi"),
    *("dwi", "adc", "mra", "cbct", "ct", "pet", "us", "dce", "uni"),
)
BIDS = re.compile(r"(?:^|_)(sub|ses|run|acq|space|desc|label|rec|ce)-([A-Za-z0-9]+)")

_PATIENT = re.compile(r"(?:^|[_\W])((?:subject|subj|sub|patient|pat|pt|person|p|id)[-_]?\d+)(?=$|[_\W])", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z]+")
_CODE_WORDS = {
    *("sub", "ses", "subj", "subject", "patient", "pat", "person", "case", "image", "img", "slice", "scan", "vol"),
    *("volume", "series", "study", "run", "site", "center", "centre", "exam", "visit", "brats", "brats20", "training"),
    *("validation", "train", "test", "val", "brain", "lung", "liver", "mask", "low", "high", "left", "right"),
    *LESION_WORDS,
    *MASK_WORDS,
    *CONTRASTS,
}
_IMAGE_SUFFIXES = (".nii.gz", ".nii", ".png", ".tiff", ".tif", ".npy", ".npz", ".dcm", ".h5", ".hdf5", ".zarr")


def stem(path: PurePosixPath) -> str:
    """A file's name without the ending that says its format."""
    name = path.name
    ending = next((suffix for suffix in _IMAGE_SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(ending)]


def tokens(text: str) -> list[str]:
    """The parts of a name between dashes, underscores, dots and blanks, in lower case."""
    return [token for token in re.split(r"[-_.\s]+", text.lower()) if token]


def partition_of(folders: Sequence[str]) -> str | None:
    """The partition that a folder on the way to a file names (`train`, `imagesTr`), the innermost first."""
    for folder in reversed(folders):
        word = re.sub(r"^(images|labels|masks)(?=(Tr|Ts|Val)$)", "", folder).lower()
        if word in PARTITION_WORDS:
            return PARTITION_WORDS[word]
    return None


def is_mask_folder(folder: str) -> bool:
    """Whether a folder holds masks by its name (`masks`, `labelsTr`)."""
    return re.sub(r"(Tr|Ts|Val)$", "", folder).lower() in MASK_FOLDERS


def is_image_folder(folder: str) -> bool:
    """Whether a folder's name says no more than that it holds images (`images`, `imagesTr`, `anat`)."""
    return re.sub(r"(Tr|Ts|Val)$", "", folder).lower() in IMAGE_FOLDERS


def contrast_of(words: Sequence[str], wished: Sequence[str]) -> str | None:
    """The contrast that the words of a name hold: one that was asked for, else a usual one, the last first."""
    asked = [wish.lower() for wish in wished]
    return next((word for word in reversed(words) if word in asked or word in CONTRASTS), None)


def patient_in(text: str) -> str | None:
    """A part of a name that looks like a number of a patient: `sub-01`, `patient_007`; None where there is none."""
    match = _PATIENT.search(text)
    return None if match is None else match[1]


def looks_coded(text: str) -> bool:
    """Whether an identifier is made of digits and words that say nothing about a person."""
    words = (word.lower() for word in _WORD.findall(text))
    return any(c.isdigit() for c in text) and all(len(word) <= 2 or word in _CODE_WORDS for word in words)
