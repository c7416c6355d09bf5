"""Whose image it is, as far as the names of files and folders say it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from medgan_qa.cohorts.proposal.names import stem, tokens
from medgan_qa.cohorts.proposal.pictures import Picture

CLASS_WORDS = {
    *("normal", "abnormal", "healthy", "control", "benign", "malignant", "positive", "negative", "yes", "no"),
    *("disease", "diseased", "cancer", "tumor", "tumour", "lesion", "notumor", "glioma", "meningioma", "pituitary"),
    *("pneumonia", "covid", "covid19", "class", "grade", "stage", "birads", "ad", "mci", "cn", "hc"),
}


def labels(images: Sequence[Picture]) -> dict[str, str]:
    """Folders that name a class: what they are called, by themselves. Empty unless there are at least two.

    Only words that are usual for classes count: a folder of any other name may be called after a patient.
    """
    folders = {image.folders[-1] for image in images if image.folders}
    named = {folder: folder for folder in folders if CLASS_WORDS & {re.sub(r"\d+$", "", t) for t in tokens(folder)}}
    return named if len(named) > 1 else {}


def patients(images: Sequence[Picture], classes: dict[str, str]) -> tuple[list[str], str]:
    """The patient of every image, and in one sentence how it was told.

    The first of these that holds for all: the subject of a BIDS name, a part of the path that looks like a patient's
    number, a folder for every patient, the beginning of names that end in a number. Else every image is a patient of
    its own.
    """
    told = [image.patient for image in images]
    if all(told):
        source = "the BIDS subject" if all(image.is_bids for image in images) else "a part of the path like patient007"
        return [str(patient) for patient in told], source
    folders = ["/".join(f for f in image.folders if f not in classes) for image in images]
    if all(folders) and len(set(folders)) > 1:
        return [folder.rpartition("/")[2] for folder in folders], "the folder that the file lies in"
    heads = [re.sub(r"[-_.\s]*(?:[a-z]{0,5}[-_]?)\d+$", "", stem(image.path), flags=re.IGNORECASE) for image in images]
    if all(re.search(r"\d", head) for head in heads) and max(Counter(heads).values()) > 1:
        return heads, "the beginning of the file's name, up to a last number"
    return [_own(image) for image in images], "nothing: every file counts as a patient of its own"


def _own(image: Picture) -> str:
    return "_".join(part for part in image.key if part)


def shared(patients: Sequence[str], partitions: Sequence[str | None]) -> int:
    """How many patients stand in several partitions."""
    found: dict[str, set[str | None]] = defaultdict(set)
    for patient, partition in zip(patients, partitions, strict=True):
        found[patient].add(partition)
    return sum(len(places) > 1 for places in found.values())
