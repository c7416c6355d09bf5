"""HYG-001: patients and images that stand in train and in test."""

from __future__ import annotations

from collections import Counter

from medgan_qa.audits._same_images import PartitionedRun, Rule, Same, SameImages, by_image, kind_of, said, same_images
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import pairs
from medgan_qa.audits.numbers import count, rate
from medgan_qa.criteria import Estimate

CODE = "HYG-001"
NO_TRAIN = "The dataset has no train partition, so nothing says whether test images were trained on."


def leaked_images(
    run: PartitionedRun,
    *,
    false_alarm: float = 0.05,
    duplicate: float = 0.02,
    worst: int = 8,
) -> Findings:
    """Training data inside the test partition.

    Question. Does the test partition hold patients or images of the train partition, under their name or another?

    What it measures. Test images whose patient stands in train as well, and test images that are a train image under
    another patient identifier: equal in every pixel, or the same after a flip, a rotation by any angle, a small shift
    or scale, another gamma, contrast or blur, noise, or compression. Every image is searched against all images of
    other patients; the pair, the change and both images are shown. Leaked images are counted, with their rate and its
    exact bounds by patient, and shared patients.

    Why it matters. A patient in both partitions makes every number about the test partition look better than it will
    be. Identifiers alone do not show it: a patient enrolled twice, a public dataset merged with its source, a second
    export under new pseudonyms all have new ones.

    Known limits. Another slice, series or visit of a patient under a new identifier is not found unless it shows almost
    the same. Changes found are those named; a warp, a scale or a crop beyond a tenth, a shift beyond some four pixels
    in 64, noise of five per cent and coarse compression are found in part or not at all. Images with little structure,
    such as the top of a head, are hardest to tell apart. The limit is set so that false alarms are rare, not so that no
    copy is missed. Images are compared at 64 pixels along the shorter side.

    Method and source. Candidates by rotation-invariant signatures (Granlund 1972), laid over each other by Gauss-Newton
    steps (Lucas and Kanade 1981), scored by the share of the locally normalised image that is left unexplained. The
    limit lies where the log-normal tail of the scores of different patients leaves the chance `false_alarm` that any
    image of the run is flagged by mistake, at its lower confidence end; certain duplicates (residual below `duplicate`)
    do not enter it. Dar et al. 2025 (arXiv 2402.01054) calibrate on pairs of different patients likewise.
    """
    findings = Findings()
    if run.train is None:
        findings.missing = NO_TRAIN
        return findings
    same = same_images(run, Rule(false_alarm, duplicate))
    known = set(run.train.patients)
    by_id = [patient in known for patient in run.reference.patients]
    found = {} if isinstance(same, str) else by_image(same.across())
    events = [by_id[i] or i in found for i in range(len(run.reference))]
    shared = {patient for patient, hit in zip(run.reference.patients, by_id, strict=True) if hit}
    findings.estimates = [
        _count("leaked_images", "Test images whose patient or image stands in train", sum(events), len(events)),
        rate(
            f"{CODE}.leaked_rate",
            "Share of test images whose patient or image stands in train",
            events,
            run.reference.patients,
            unit_of_analysis="test image",
            units=run.reference.names,
        ),
        count(
            f"{CODE}.shared_patients",
            "Patients in test and train under one identifier",
            len(shared),
            n=len(set(run.reference.patients)),
            unit_of_analysis="test patient",
            better="lower",
        ),
    ]
    findings.rows = [_row(run, same, found.get(i), i) for i, hit in enumerate(events) if hit]
    if isinstance(same, str):
        findings.missing = same
        return findings
    hidden = [i for i in found if not by_id[i]]
    findings.estimates.append(
        _count("relabelled_images", "Test images that are a train image of another patient", len(hidden), len(events))
    )
    findings.estimates.append(_in_train(run, same))
    findings.notes = [*_kinds([found[i] for i in hidden]), *said(same)]
    _show(findings, same, [found[i] for i in found], worst)
    return findings


def _count(name: str, label: str, value: int, n: int) -> Estimate:
    return count(f"{CODE}.{name}", label, value, n=n, unit_of_analysis="test image", better="lower")


def _in_train(run: PartitionedRun, same: SameImages) -> Estimate:
    assert run.train is not None
    flagged = {i for pair in same.within_train() for i in (pair.one, pair.other)}
    own = {i for pair in same.within_train() if _one_patient(same, pair) for i in (pair.one, pair.other)}
    return rate(
        f"{CODE}.flagged_in_train",
        "Train images flagged against other train patients by the same rule: duplicates of train, or false alarms",
        [same.tests + k in flagged - own for k in range(len(run.train))],
        run.train.patients,
        unit_of_analysis="train image",
        units=run.train.names,
    )


def _one_patient(same: SameImages, pair: Same) -> bool:
    return same.patients[pair.one] == same.patients[pair.other]


def _row(run: PartitionedRun, same: SameImages | str, pair: Same | None, test: int) -> Row:
    assert run.train is not None
    patient = run.reference.patients[test]
    shown = None if pair is None or isinstance(same, str) else same.names[pair.one]
    whose = None if pair is None or isinstance(same, str) else same.patients[pair.one]
    by_id = patient in set(run.train.patients)
    return {
        "case_id": run.reference.names[test],
        "patient_id": patient,
        "leaked_by": " and ".join(["patient"] * by_id + ["image"] * (pair is not None)),
        "train_case": shown,
        "train_patient": whose or patient,
        "change": "" if pair is None else pair.change,
        "residual": None if pair is None else round(pair.residual, 4),
        "score": None if pair is None else round(pair.score, 4),
    }


def _kinds(pairs_: list[Same]) -> list[str]:
    kinds = Counter(kind_of(pair.change) for pair in pairs_)
    if not kinds:
        return []
    listed = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    return [f"Of {kinds.total()} train images in test under another patient: {listed}."]


def _show(findings: Findings, same: SameImages, found: list[Same], worst: int) -> None:
    found = sorted(found, key=lambda pair: pair.score)
    pairs(
        findings,
        f"{CODE}-pairs",
        "Test images and the train images that they are",
        f"{min(worst, len(found))} of {len(found)} test images that are a train image, the most alike first. The train "
        "image is shown after the change that gives the test image.",
        [same.shown(pair, "worst") for pair in found[:worst]],
        ("test image", "train image, same change"),
    )
