"""HYG-001: patients and images of the other partitions that stand in test."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from medgan_qa.audits._partitions import PartitionedRun, RealImages, partition
from medgan_qa.audits._same_images import Rule, Same, SameImages, by_image, kind_of, said, same_images
from medgan_qa.audits._shared_names import SharedNames, shared_names
from medgan_qa.audits._shown_pairs import shown_pairs
from medgan_qa.audits._slice_runs import OneVolume, leaked_volumes, slices_of
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import pairs
from medgan_qa.audits.numbers import count, rate
from medgan_qa.criteria import Estimate

CODE = "HYG-001"
NO_TRAIN = "The dataset has no train and no val partition, so there is nothing that test images could have leaked from."


class _Leaks(NamedTuple):
    """What is known of every test image."""

    test: RealImages
    others: tuple[RealImages, ...]
    names: SharedNames
    same: SameImages
    images: dict[int, Same]
    """Pair of each test image that is one of another partition."""
    targets: dict[int, int]
    """Image of another partition and patient whose target is equal, by test image."""
    volumes: dict[str, OneVolume]
    """By test volume."""

    def why(self, i: int) -> list[str]:
        """What of a test image stands elsewhere."""
        case = self.test.cases[i]
        return [
            *self.names.of(case),
            *["image"] * (i in self.images),
            *["target"] * (i in self.targets),
            *["volume under another name"] * (case.volume in self.volumes),
        ]


def leaked_images(
    run: PartitionedRun,
    *,
    false_alarm: float = 0.05,
    duplicate: float = 0.02,
    worst: int = 8,
) -> Findings:
    """Training data inside the test partition.

    Question. Does the test partition hold patients, volumes or images of train or val, under their name or another?

    What it measures. Test images whose patient, study or volume stands in train or val as well, and test images that
    are an image of another patient there: equal in every pixel, or the same after a flip, a rotation by any angle, a
    crop, a small shift or scale, another gamma, contrast or blur, noise, or compression. Every image is searched
    against all images of other patients; the pair, the change and both images are shown. Volumes whose slices match
    those of a volume under another name, in order, are told once for the volume, also where only their neighbours stand
    there. Leaked images are counted, with their rate and its exact bounds by patient.

    Why it matters. A patient in both partitions makes every number about the test partition look better than it will
    be. Identifiers alone do not show it: a patient enrolled twice, a public dataset merged with its source, a second
    export under new pseudonyms all have new ones. Slices of one volume are near copies of each other, so a split by
    slice puts the test images into train.

    Known limits. Another slice, series or visit of a patient under a new identifier is not found unless it shows
    almost the same, or four and more slices of a volume do. Changes found are those named; of crops to 80 % of the
    side six in ten on phantoms, of smaller ones few; a warp, a scale beyond a tenth or a shift beyond a twentieth
    of the side are found in part or not at all, and a part of an image pasted into another is not. Images with
    little structure, such as the top of a head, are hardest to tell apart. The limit is set so that false alarms
    are rare, not so that no copy is missed. Images are compared at 64 pixels along the longer side; a paired target
    is compared pixel by pixel alone.

    Method and source. Candidates by rotation-invariant signatures (Granlund 1972), laid over each other by Gauss-Newton
    steps (Lucas and Kanade 1981), scored by the share of the locally normalised image that is left unexplained, with
    and without what white noise explains of it (Immerkaer 1996). The limits lie where the log-normal tail of the scores
    of different patients leaves the chance `false_alarm` that any image of the run is flagged by mistake, at its lower
    confidence end; certain duplicates (residual below `duplicate`) do not enter it. Dar et al. 2025 (arXiv 2402.01054)
    calibrate on pairs of different patients likewise. Volumes by the mean logarithm of their slices' scores, held
    against that of all volumes.
    """
    findings = Findings()
    test = partition(run, "test")
    others = tuple(part for part in (partition(run, "train"), partition(run, "val")) if part is not None)
    if test is None or not others:
        findings.not_applicable = NO_TRAIN
        return findings
    leaks = _leaks(test, others, same_images(run, Rule(false_alarm, duplicate)), false_alarm)
    events = [bool(leaks.why(i)) for i in range(len(test))]
    findings.estimates = [
        _count("leaked_images", "Test images whose patient, volume or image stands in train or val", sum(events), test),
        rate(
            f"{CODE}.leaked_rate",
            "Share of test images whose patient, volume or image stands in train or val",
            events,
            test.patients,
            unit_of_analysis="test image",
            units=test.names,
        ),
        *_by_name(leaks),
        *_by_image(leaks),
    ]
    findings.rows = [_row(leaks, i) for i, hit in enumerate(events) if hit]
    findings.tables = _volume_table(leaks)
    found = [leaks.images[i] for i in leaks.images if not leaks.names.of(test.cases[i])]
    findings.notes = [*_kinds(found), *_volume_notes(leaks), *said(leaks.same)]
    if leaks.same.missing is not None:
        # What was found is found, whatever could not be searched.
        if any(events):
            findings.notes.append(f"Changed images could not be searched: {leaks.same.missing}")
        else:
            findings.missing = leaks.same.missing
    _show(findings, run, leaks.same, list(leaks.images.values()), worst)
    return findings


def _leaks(test: RealImages, others: tuple[RealImages, ...], same: SameImages, false_alarm: float) -> _Leaks:
    elsewhere = [case for part in others for case in part.cases]
    names = shared_names(test.cases, elsewhere)
    first: dict[str, int] = {}
    for k, digest in enumerate(digest for part in others for digest in part.target_digests):
        if digest is not None:
            first.setdefault(digest, k)
    targets = {
        i: first[digest]
        for i, digest in enumerate(test.target_digests)
        if digest in first and elsewhere[first[digest]].patient_id != test.patients[i]
    }
    volumes = {one.test: one for one in leaked_volumes(same, false_alarm)}
    return _Leaks(test, others, names, same, by_image(same.across()), targets, volumes)


def _count(name: str, label: str, value: int, test: RealImages) -> Estimate:
    return count(f"{CODE}.{name}", label, value, n=len(test), unit_of_analysis="test image", better="lower")


def _by_name(leaks: _Leaks) -> list[Estimate]:
    """What identifiers say; of studies and volumes only where they are named."""
    test, names = leaks.test, leaks.names
    every: tuple[tuple[str, str, Any, set[Any]], ...] = (
        ("patients", "Patients", names.patients, set(test.patients)),
        ("studies", "Studies", names.studies, {case.study for case in test.cases} - {None}),
        ("volumes", "Volumes", names.volumes, set(test.volumes) - {None}),
    )
    made = [
        count(
            f"{CODE}.shared_{name}",
            f"{label} in test and in train or val under one identifier",
            len(shared),
            n=len(held),
            unit_of_analysis=f"test {label.lower().removesuffix('s') if name != 'studies' else 'study'}",
            better="lower",
        )
        for name, label, shared, held in every
        if shared is not None
    ]
    if names.volumes is not None:
        label = "Test slices of which a neighbour of the same volume stands in train or val"
        made.append(_count("adjacent_slices", label, len(names.adjacent), test))
    return made


def _by_image(leaks: _Leaks) -> list[Estimate]:
    """What pixels say beyond that."""
    test, same = leaks.test, leaks.same
    hidden = [i for i in leaks.images if not leaks.names.of(test.cases[i])]
    label = "Test images that are an image of another patient in train or val"
    made = [_count("relabelled_images", label, len(hidden), test)]
    if slices_of(test.cases):
        made.append(
            count(
                f"{CODE}.leaked_volumes",
                "Test volumes that stand in train or val under another name",
                len(leaks.volumes),
                n=len(slices_of(test.cases)),
                unit_of_analysis="test volume",
                better="lower",
            )
        )
    train = next((part for part in leaks.others if part.partition == "train"), None)
    return made if train is None or same.missing is not None else [*made, _in_train(train, same)]


def _in_train(train: RealImages, same: SameImages) -> Estimate:
    within = [pair for pair in same.within_train() if not same.one_patient(pair)]
    flagged = {same.cases[i].case_id for pair in within for i in (pair.one, pair.other)}
    return rate(
        f"{CODE}.flagged_in_train",
        "Train images flagged against other train patients by the same rule: duplicates of train, or false alarms",
        [name in flagged for name in train.names],
        train.patients,
        unit_of_analysis="train image",
        units=train.names,
    )


def _row(leaks: _Leaks, i: int) -> Row:
    case, pair = leaks.test.cases[i], leaks.images.get(i)
    shown = None if pair is None else leaks.same.cases[pair.one]
    if shown is None and i in leaks.targets:
        shown = leaks.same.cases[leaks.same.tests + leaks.targets[i]]
    volume = leaks.volumes.get(case.volume or "")
    whose = shown.patient_id if shown else volume.other_patient if volume else case.patient_id
    return {
        "case_id": case.case_id,
        "patient_id": case.patient_id,
        "leaked_by": " and ".join(leaks.why(i)),
        "partition": shown.partition if shown else volume.partition if volume else "",
        "train_case": shown.case_id if shown else None,
        "train_patient": whose,
        "train_volume": shown.volume if shown else volume.other if volume else None,
        "change": pair.change if pair else "target unchanged" if i in leaks.targets else "",
        "residual": None if pair is None else round(pair.residual, 4),
        "score": None if pair is None else round(pair.score, 4),
    }


def _volume_table(leaks: _Leaks) -> dict[str, list[Row]]:
    rows = [one._asdict() for one in leaks.volumes.values()]
    return {f"exhibits/{CODE}-volumes.csv": rows} if rows else {}


def _volume_notes(leaks: _Leaks) -> list[str]:
    told = []
    for one in list(leaks.volumes.values())[:5]:
        order = {"same": "in the same order", "reversed": "in reverse order", "none": "in no order that is known"}
        where = "" if one.offset is None else f", {one.offset:+g} places along"
        told.append(
            f"Volume {one.test} of {one.test_patient} matches {one.other} of {one.other_patient} ({one.partition}) by "
            f"{one.by}: {one.matched} of {one.slices} slices, {order[one.order]}{where}."
        )
    return told


def _kinds(found: list[Same]) -> list[str]:
    kinds = Counter(kind_of(pair.change) for pair in found)
    if not kinds:
        return []
    listed = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    return [f"Of {kinds.total()} images in test that stand elsewhere under another patient: {listed}."]


def _show(findings: Findings, run: PartitionedRun, same: SameImages, found: list[Same], worst: int) -> None:
    found = sorted(found, key=lambda pair: pair.score)
    pairs(
        findings,
        f"{CODE}-pairs",
        "Test images and the images of train or val that they are",
        f"{min(worst, len(found))} of {len(found)} test images that are an image of another partition, the most alike "
        "first. That image is shown after the change that gives the test image.",
        shown_pairs(run, same, found[:worst], "worst"),
        ("test image", "image elsewhere, same change"),
    )
