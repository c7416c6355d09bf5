"""A folder of DICOM files: one row a series, with patient, study, scanner and date from the headers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.proposal import ranges
from medgan_qa.cohorts.proposal.content import PARTITION, Proposal, Range, Wishes
from medgan_qa.cohorts.proposal.dicom_headers import Series, read_series
from medgan_qa.cohorts.proposal.names import partition_of
from medgan_qa.cohorts.pseudonyms import Pseudonyms
from medgan_qa.cohorts.readers._quiet import quiet
from medgan_qa.errors import InputError

NOT_READ = {
    "SEG": "segmentations (SEG)",
    "RTSTRUCT": "contours (RTSTRUCT)",
    "RTPLAN": "treatment plans",
    "RTDOSE": "dose distributions",
    "SR": "structured reports",
    "PR": "presentation states",
    "KO": "key object selections",
    "REG": "registrations",
    "DOC": "documents",
}
_SCOUTS = ("localizer", "localiser", "scout", "topogram", "surview", "survey")


def propose(folder: Path, paths: Sequence[PurePosixPath], wishes: Wishes) -> Proposal:
    """A proposal for a folder of DICOM files.

    Raises:
        InputError: no series is what the user asked for.
    """
    series, broken = read_series(folder, paths)
    proposal = Proposal(folder, "DICOM series", [], Range(None, windowed=False, reason=""), False, False)
    if broken:
        proposal.left_out["files that cannot be read as DICOM"] = broken
    images = list(_images(series, proposal))
    sources, targets = _chosen(images, wishes, proposal)
    if sources:
        _fill(proposal, sources, targets, wishes)
    return proposal


def _images(series: Sequence[Series], proposal: Proposal) -> Iterator[Series]:
    """Those that hold images of patients; the rest is counted."""
    for one in series:
        reason = NOT_READ.get(one.modality)
        if reason is None and not one.slices:
            reason = "objects without pixels"
        if reason is None and ("LOCALIZER" in one.kinds or any(word in one.description.lower() for word in _SCOUTS)):
            reason = "localizers"
        if reason is None:
            yield one
        else:
            proposal.left_out[reason] += len(one.instances)
    masks = [name for name in ("SEG", "RTSTRUCT") if proposal.left_out[NOT_READ[name]]]
    if masks:
        kinds = " and ".join(masks)
        proposal.to_fill_in.append(f"lesion_mask: {kinds} objects are not read; export masks as NIfTI, PNG or NPY")
    proposal.left_out += Counter()  # drops reasons that counted nothing


def _chosen(images: Sequence[Series], wishes: Wishes, proposal: Proposal) -> tuple[list[Series], dict[str, Series]]:
    """The series of the images, and the reference of each by the image's series."""
    if wishes.source and wishes.target:
        sources, targets = _matching(images, wishes.source, "--source"), _matching(images, wishes.target, "--target")
        pairs = {one.uid: same[0] for one in sources if len(same := [t for t in targets if t.study == one.study]) == 1}
        return sources, pairs
    if wishes.series or wishes.source:
        flag = "--series" if wishes.series else "--source"
        return _matching(images, wishes.series or wishes.source or "", flag), {}
    kinds = defaultdict(list)
    for one in images:
        kinds[one.modality, one.description.lower()].append(one)
    studies = {one.study for one in images}
    if len(images) == len(studies) or len(kinds) <= 1:
        return list(images), {}
    # The kind that most studies have, and of these the one with most images.
    best = max(kinds.values(), key=lambda some: (len({one.study for one in some}), sum(one.slices for one in some)))
    listed = "; ".join(f"{_kind(some[0])} ({len(some)})" for some in kinds.values())
    proposal.guessed.append(f"series {_kind(best[0])}: the kind that most studies have")
    proposal.to_fill_in.append(f"the series, if another is meant (--series TEXT): {listed}")
    proposal.left_out["images of other series"] = sum(len(one.instances) for one in images if one not in best)
    return best, {}


def _kind(one: Series) -> str:
    return f"{one.modality} {one.description or 'without description'}".strip()


def _matching(images: Sequence[Series], wish: str, flag: str) -> list[Series]:
    found = [one for one in images if wish.lower() in (one.modality.lower(), one.description.lower())]
    found = found or [one for one in images if wish.lower() in one.description.lower()]
    if found:
        return found
    listed = sorted(set(map(_kind, images)))
    raise InputError(
        "No series is what was asked for.",
        expected="a modality or part of a description: " + ("; ".join(listed) or "there is no series of images"),
        found=wish,
        where=flag,
        todo="Name one of these.",
    )


def _fill(proposal: Proposal, sources: Sequence[Series], targets: dict[str, Series], wishes: Wishes) -> None:
    people = {one.patient for one in sources}
    names = Pseudonyms(
        {
            "case": [one.uid for one in sources],
            "patient": people,
            "study": {one.study for one in sources if one.study},
            "site": {one.institution for one in sources if one.institution},
        }
    )
    whole = {folder for folder, uids in _uids(proposal, sources, targets).items() if len(uids) == 1}
    every = [*sources, *targets.values()]
    for one in sources:
        proposal.rows += _rows(one, targets.get(one.uid), names, whole, proposal)
    proposal.volumes = any("volume" not in row for row in proposal.rows) and any(one.slices > 1 for one in every)
    proposal.spacing_known = all(instance.spacing for one in every for instance in one.instances)
    proposal.span = _span(proposal.folder, every, wishes)
    proposal.source_domain, proposal.target_domain = _domain(sources), _domain(list(targets.values()))
    _tell(proposal, sources, targets)


def _uids(proposal: Proposal, sources: Sequence[Series], targets: dict[str, Series]) -> dict[str, set[str]]:
    """The series whose files lie in a folder, and an empty name where other files lie there too."""
    found: dict[str, set[str]] = defaultdict(set)
    listed: dict[str, set[str]] = defaultdict(set)
    for one in [*sources, *targets.values()]:
        for instance in one.instances:
            place = str(instance.path.parent)
            found[place].add(one.uid)
            listed[place].add(instance.path.name)
    for place, uids in found.items():
        # Only a folder that holds one series and nothing else can stand in a cell.
        if any(path.is_file() and path.name not in listed[place] for path in (proposal.folder / place).iterdir()):
            uids.add("")
    return found


def _rows(
    one: Series, target: Series | None, names: Pseudonyms, whole: set[str], proposal: Proposal
) -> Iterator[dict[str, str]]:
    case = names.of("case", one.uid)
    common = {
        "patient_id": names.of("patient", one.patient),
        "partition": partition_of(one.instances[0].path.parts[:-1]) or PARTITION,
        "study": names.of("study", one.study) if one.study else "",
        "site": names.of("site", one.institution) if one.institution else "",
        "scanner": one.scanner,
        "acquired": one.acquired,
    }
    cell, other = _cell(one, whole), None if target is None else _cell(target, whole)
    if cell is not None and (target is None or other is not None):
        yield {"case_id": case, **common, "image": cell, "target": other or ""}
        return
    # Files of several series in one folder: one row a file. A cell can name a file only by its ending.
    for index, instance in enumerate(one.instances):
        if not instance.path.name.lower().endswith(".dcm"):
            proposal.left_out["DICOM files without the ending .dcm, beside those of other series"] += 1
            continue
        row = {"case_id": f"{case}-{index:03d}", **common, "image": str(instance.path), "target": ""}
        if target is not None and len(target.instances) == len(one.instances):
            row["target"] = str(target.instances[index].path)
        yield {**row, "volume": case, "slice": str(index)}


def _cell(one: Series, whole: set[str]) -> str | None:
    """What a cell names: the one file, or the folder that holds nothing but the series."""
    path = one.instances[0].path
    if len(one.instances) == 1 and path.name.lower().endswith(".dcm"):
        return str(path)
    folders = {str(instance.path.parent) for instance in one.instances}
    return next(iter(folders)) if len(folders) == 1 and folders <= whole and folders != {"."} else None


def _span(folder: Path, series: Sequence[Series], wishes: Wishes) -> Range:
    given = ranges.wished(wishes)
    if given is not None:
        return given
    instances = [instance for one in series for instance in one.instances]
    if {one.modality for one in series} == {"CT"}:
        if all(instance.rescaled for instance in instances):
            return ranges.hounsfield()
        return Range(None, windowed=False, reason="CT without a rescale to Hounsfield units in every file")
    kinds = {np.dtype(np.uint8 if i.bits <= 8 and not i.signed and not i.rescaled else np.int16) for i in instances}
    return ranges.by_type(kinds, [folder / instance.path for instance in instances], _numbers)


def _numbers(path: Path) -> NDArray[Any] | None:
    """The pixels of a file with the modality's rescale; None where they cannot be read."""
    import pydicom
    from pydicom.pixels.processing import apply_modality_lut

    try:
        with quiet():
            dataset = pydicom.dcmread(path)
            return np.asarray(apply_modality_lut(dataset.pixel_array, dataset))
    # Decoders raise errors of their own; `data check` says what is wrong with the file.
    except Exception:
        return None


def _domain(series: Sequence[Series]) -> str | None:
    kinds = {one.modality for one in series}
    return next(iter(kinds)) if kinds == {"CT"} or kinds == {"PT"} else None


def _tell(proposal: Proposal, sources: Sequence[Series], targets: dict[str, Series]) -> None:
    people, studies = {one.patient for one in sources}, {one.study for one in sources}
    kinds = Counter(map(_kind, sources))
    slices = sum(one.slices for one in sources)
    proposal.understood.append(
        f"{len(sources)} series with {slices} images, {len(studies)} studies, {len(people)} patients, {len(targets)} "
        "with a paired reference"
    )
    proposal.understood.append(f"series: {', '.join(f'{kind} ({n})' for kind, n in kinds.most_common(6))}")
    if not all(one.patient_known for one in sources):
        proposal.guessed.append("a patient for each study: headers without a patient's number or name")
    partitions = {partition_of(one.instances[0].path.parts[:-1]) for one in sources}
    if None in partitions:
        proposal.guessed.append(f"partition {PARTITION}: no folder says another")
    if not targets:
        proposal.to_fill_in.append("target, for translation: --source and --target name two series of a study")
