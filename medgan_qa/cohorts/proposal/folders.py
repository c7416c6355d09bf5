"""Folders of NIfTI, PNG, TIFF, NPY and NPZ files: cases from what images, references and masks are called."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from medgan_qa.cohorts.proposal import participants, ranges
from medgan_qa.cohorts.proposal.content import PARTITION, Proposal, Range, Wishes
from medgan_qa.cohorts.proposal.headers import Header, header, numbers
from medgan_qa.cohorts.proposal.names import looks_coded
from medgan_qa.cohorts.proposal.names import stem as stem_of
from medgan_qa.cohorts.proposal.pairs import Contrasts, contrasts
from medgan_qa.cohorts.proposal.patients import labels, patients
from medgan_qa.cohorts.proposal.pictures import Picture, picture

MOST_HEADERS = 500
"""Files whose headers are read; beyond, evenly over the set."""


class Found(NamedTuple):
    """One case: its image, and what belongs to it."""

    image: Picture
    target: Picture | None
    mask: Picture | None


def propose(folder: Path, paths: Sequence[PurePosixPath], wishes: Wishes, layout: str) -> Proposal:
    """A proposal for a folder of files with one image, reference or mask each."""
    wished = [wish for wish in (wishes.source, wishes.target) if wish]
    groups = _groups(picture(path, wished) for path in paths)
    chosen = contrasts([{image.contrast for image in _images(group)} for group in groups.values()], wishes)
    proposal = Proposal(folder, layout, [], Range(None, windowed=False, reason=""), volumes=False, spacing_known=False)
    found = [case for group in groups.values() for case in _cases(group, chosen, proposal)]
    if found:
        _fill(proposal, found, chosen, wishes)
    return proposal


def _groups(pictures: Iterable[Picture]) -> dict[tuple[str, ...], list[Picture]]:
    groups: dict[tuple[str, ...], list[Picture]] = defaultdict(list)
    for one in pictures:
        groups[one.key].append(one)
    return groups


def _images(group: Sequence[Picture]) -> list[Picture]:
    """The images of a group; where there are none, what is only perhaps a mask is one."""
    images = [one for one in group if one.role == "image"]
    return images or [one for one in group if one.role == "mask" and not one.surely]


def _cases(group: Sequence[Picture], chosen: Contrasts, proposal: Proposal) -> list[Found]:
    images = _images(group)
    masks = [one for one in group if one.role == "mask" and one not in images]
    sources = [one for one in images if chosen.source is None or one.contrast == chosen.source]
    targets = [one for one in images if chosen.target is not None and one.contrast == chosen.target]
    mask = _mask(masks)
    if len(sources) > 1:
        # Nothing says which of them the reference and the mask belong to.
        proposal.left_out["a mask or reference that several images could have"] += len(masks) + len(targets)
        return [Found(image, None, None) for image in sources]
    _count_rest(group, [*sources, *targets[:1], *([mask] if mask and sources else [])], chosen, proposal)
    return [Found(image, targets[0] if targets else None, mask) for image in sources]


def _mask(masks: Sequence[Picture]) -> Picture | None:
    named = [mask for mask in masks if mask.lesion] or list(masks)
    return named[0] if len(named) == 1 else None


def _count_rest(group: Sequence[Picture], used: Sequence[Picture], chosen: Contrasts, proposal: Proposal) -> None:
    for one in group:
        if one in used:
            continue
        if one.role == "anatomy":
            reason = "masks of anatomy, not of lesions"
        elif one.role == "image" and chosen.source is not None and one.contrast != chosen.source:
            reason = f"images of {one.contrast or 'no named contrast'}, which is neither source nor target"
        else:
            reason = "masks without an image, or several for one image" if one.role == "mask" else "images left over"
        proposal.left_out[reason] += 1


def _fill(proposal: Proposal, found: Sequence[Found], chosen: Contrasts, wishes: Wishes) -> None:
    images = [case.image for case in found]
    classes = labels(images)
    people, how = patients(images, classes)
    names = _names(images)
    for case, person, name in zip(found, people, names, strict=True):
        proposal.rows.append(_row(case, person, name, classes))
    proposal.source_domain, proposal.target_domain = chosen.source_name, chosen.target_name
    headers = _headers(proposal.folder, images)
    proposal.volumes = any(one.slices > 1 for one in headers)
    proposal.spacing_known = bool(headers) and all(one.spacing for one in headers)
    proposal.span = _span(proposal.folder, images, headers, chosen, wishes)
    if not all(map(looks_coded, {*people, *names})):
        proposal.identifiers = "direct"
    _tell(proposal, found, classes, how, chosen)
    participants.add(proposal)


def _row(case: Found, person: str, name: str, classes: dict[str, str]) -> dict[str, str]:
    image = case.image
    last = image.folders[-1] if image.folders else ""
    return {
        "case_id": name,
        "patient_id": person,
        "partition": image.partition or PARTITION,
        "image": str(image.path),
        "target": "" if case.target is None else str(case.target.path),
        "lesion_mask": "" if case.mask is None else str(case.mask.path),
        "label": classes.get(last, ""),
        "study": "" if image.session is None else f"{person}_ses-{image.session}",
    }


def _names(images: Sequence[Picture]) -> list[str]:
    """Short names that no two images share: the key, else the file's name, else the whole path."""
    kinds = (
        ["_".join(part for part in image.key if part).replace("/", "_") for image in images],
        [stem_of(image.path) for image in images],
        ["_".join([*image.path.parts[:-1], stem_of(image.path)]) for image in images],
    )
    return next((names for names in kinds if len(set(names)) == len(names)), [str(image.path) for image in images])


def _headers(folder: Path, images: Sequence[Picture]) -> list[Header]:
    paths = ranges.evenly([folder / image.path for image in images], MOST_HEADERS)
    return [one for path in paths if (one := header(path)) is not None]


def _span(
    folder: Path, images: Sequence[Picture], headers: Sequence[Header], chosen: Contrasts, wishes: Wishes
) -> Range:
    given = ranges.wished(wishes)
    if given is not None:
        return given
    is_ct = chosen.source in ("ct", "cbct") and chosen.target in (None, "ct", "cbct")
    if is_ct and headers and all(one.dtype.kind in "if" for one in headers):  # Hounsfield units are signed
        return ranges.hounsfield()
    return ranges.by_type((one.dtype for one in headers), [folder / image.path for image in images], numbers)


def _tell(proposal: Proposal, found: Sequence[Found], classes: dict[str, str], how: str, chosen: Contrasts) -> None:
    masks = sum(case.mask is not None for case in found)
    proposal.understood.append(f"{len(found)} images, {masks} with a mask, {_pairs(found)} with a paired reference")
    partitions = Counter(case.image.partition for case in found)
    if None in partitions:
        proposal.guessed.append(f"partition {PARTITION} for {partitions[None]} images: no folder says another")
    else:
        proposal.understood.append(f"partitions from folders: {', '.join(f'{p} {n}' for p, n in partitions.items())}")
    people = len({row["patient_id"] for row in proposal.rows})
    (proposal.understood if how.startswith("the BIDS") else proposal.guessed).append(f"{people} patients from {how}")
    if classes:
        proposal.guessed.append(f"labels from folders: {', '.join(sorted(classes))}")
    if masks:
        proposal.guessed.append("masks are of lesions, because of what their files or folders are called")
    proposal.guessed += chosen.guessed
    proposal.to_fill_in += chosen.open


def _pairs(found: Sequence[Found]) -> int:
    return sum(case.target is not None for case in found)
