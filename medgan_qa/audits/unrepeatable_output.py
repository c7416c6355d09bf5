"""ROB-001: outputs that change although the input does not. Also: further passes of chosen cases through the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.detector import NO_DETECTOR, qualify
from medgan_qa.audits.exhibits import Pair, forest, pairs
from medgan_qa.audits.lesions import Lesion, lesions_of, matching_rule, unseen_in_target
from medgan_qa.audits.numbers import identifier, median, plain, rate
from medgan_qa.audits.run import NotFiniteError, for_detector, grey
from medgan_qa.audits.translation import BATCH, Item, Reading, TranslationRun
from medgan_qa.criteria import Estimate
from medgan_qa.errors import MedganQAError, ModelError
from medgan_qa.metrics import MatchingRule
from medgan_qa.metrics.perturbations import root_mean_square
from medgan_qa.subjects.load import load_subject
from medgan_qa.subjects.protocols import Subject

CODE = "ROB-001"

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Answer = Float | str
"""What the model made of an image, (C, H, W) in unit range; or, in words, how it refused."""

ALIKE = "repeatable"
ONLY_CAUSE = {"alone": "batch", "other device": "device"}
"""What a change in a pass depends on, for a model that draws no random numbers."""


class Sample(NamedTuple):
    """The cases that are passed through the model again."""

    items: list[Item]
    images: list[Float]
    """(C, H, W) each, the source images with all their channels."""

    @property
    def patients(self) -> list[str]:
        """The patient of each case."""
        return [item.case.patient_id for item in self.items]


class LesionRule(NamedTuple):
    """How lesions are followed through further passes."""

    rule: MatchingRule
    min_pixels: int
    sensitivity_min: float
    false_alarm_max: float


def sampled(run: TranslationRun, code: str, cases: int) -> Sample:
    """All cases of patients drawn by the run's seed, until there are `cases`; every case if that is 0."""
    names = sorted({item.case.patient_id for item in run.items})
    held = Counter(item.case.patient_id for item in run.items)
    drawn: set[str] = set()
    for k in rng.child(run.seed, "cases", code).permutation(len(names)):
        if not cases or sum(held[name] for name in drawn) < cases:
            drawn.add(names[k])
    items = [item for item in run.items if item.case.patient_id in drawn]
    return Sample(items, [run.cohort.load(item.case).image for item in items])


def not_sampled(run: TranslationRun, sample: Sample) -> dict[str, str]:
    """The cases that were not drawn."""
    drawn = {item.case.case_id for item in sample.items}
    return {i.case.case_id: "not drawn" for i in run.items if i.case.case_id not in drawn}


def answers(
    run: TranslationRun,
    images: Sequence[Float],
    purpose: str,
    *,
    subject: Subject | None = None,
    batch: int = BATCH,
    label: str = "Translating again",
) -> list[Answer]:
    """Pass images through the model once more, in batches of images of one size.

    Args:
        run: the run.
        images: (C, H, W) each, unit range.
        purpose: names the seed of the pass; one purpose, one seed.
        subject: the model to pass them through, if not the run's.
        batch: images a forward pass.
        label: what is going on, for a progress display.
    """
    model = subject or run.subject
    groups = _batches(dict(enumerate(images)), batch)

    def forward(group: list[int]) -> list[Answer]:
        seed = rng.child_seed(run.seed, "pass", purpose, group[0])
        return _answered(model, np.stack([images[k] for k in group]), seed)

    done = run.engine.map(forward, groups, label=label)
    by_image = {k: a for group, given in zip(groups, done, strict=True) for k, a in zip(group, given, strict=True)}
    return [by_image[k] for k in range(len(images))]


def _answered(subject: Subject, x: Float, seed: int) -> list[Answer]:
    try:
        y = subject.translate(x, seed)
    except ModelError as error:
        if len(x) == 1:
            return [f"raised: {error.found or error.problem}"]
        # One image may have been refused and not its neighbours.
        return [answer for k in range(len(x)) for answer in _answered(subject, x[k : k + 1], seed)]
    return [image if np.isfinite(image).all() else "NaN or infinity" for image in y]


def objection_to_reader(run: TranslationRun, code: str, how: LesionRule) -> str | None:
    """Why no fate of a lesion can be told in this run; None if it can."""
    unseen = unseen_in_target(run.cohort)
    if unseen or run.detector is None:
        return unseen or NO_DETECTOR
    if not run.paired:
        return "No case has a paired reference image (column target), so the detector cannot be qualified."
    return qualify(
        code,
        run,
        lesions_of(run, how.rule, how.min_pixels, read=True),
        how.rule,
        min_pixels=how.min_pixels,
        sensitivity_min=how.sensitivity_min,
        false_alarm_max=how.false_alarm_max,
    ).objection


def marks(run: TranslationRun, images: Sequence[Answer]) -> list[Bool | None]:
    """What the detector marks in images (C, H, W); None where the model refused.

    Raises:
        NotFiniteError: the detector returned NaN or infinity.
    """
    detector = run.detector
    assert detector is not None

    def read(group: list[int]) -> list[Bool]:
        logits = detector.read(np.stack([ready[k] for k in group]))
        if not np.isfinite(logits).all():
            raise NotFiniteError(
                "The detector returned NaN or infinity.",
                expected="finite lesion logits",
                found="in an output of a further pass",
                where=detector.path,
                todo="Repair the detector, or give another with --detector.",
            )
        return list(logits > 0)

    ready = {k: for_detector(image, detector) for k, image in enumerate(images) if not isinstance(image, str)}
    groups = _batches(ready, BATCH)
    done = run.engine.map(read, groups, label="Reading lesions")
    found = {k: m for group, read_ in zip(groups, done, strict=True) for k, m in zip(group, read_, strict=True)}
    return [found.get(k) for k in range(len(images))]


def _batches(images: Mapping[int, Float], batch: int) -> list[list[int]]:
    """Numbers of images in batches of one size."""
    groups = []
    for shape in dict.fromkeys(image.shape for image in images.values()):
        same = [k for k, image in images.items() if image.shape == shape]
        groups += [same[j : j + batch] for j in range(0, len(same), batch)]
    return groups


def with_lesions(sample: Sample, outputs: Sequence[Answer]) -> list[Answer]:
    """The outputs of cases with an annotated lesion; the others are not worth a detector's time."""
    shows = [item.lesion is not None and bool(item.lesion.any()) for item in sample.items]
    return [output if shown else "no lesion" for output, shown in zip(outputs, shows, strict=True)]


def followed(
    run: TranslationRun,
    sample: Sample,
    outputs: Sequence[Answer],
    how: LesionRule,
    read: Sequence[Bool | None] | None = None,
) -> dict[str, Lesion]:
    """The lesions that the detector reads in the reference, as they stand in other outputs, by lesion id.

    Args:
        run: the run, with a detector.
        sample: the cases.
        outputs: one a case; lesions of cases that were refused are left out.
        how: how lesions are followed.
        read: the detector's marks in the outputs, if they were read already.
    """
    marked = marks(run, with_lesions(sample, outputs)) if read is None else read
    items, readings = [], {}
    for item, output, found in zip(sample.items, outputs, marked, strict=True):
        if item.reference is None or isinstance(output, str) or found is None:
            continue
        items.append(replace(item, output=grey(output), channels=(output, item.channels[1])))
        readings[item.case.case_id] = Reading(run.readings[item.case.case_id].reference, found)
    view = TranslationRun(run.subject, run.cohort, run.detector, run.engine, run.seed)
    view.items, view.readings = items, readings
    lesions = lesions_of(view, how.rule, how.min_pixels, read=True)
    return {lesion.lesion_id: lesion for lesion in lesions if lesion.found_reference}


def unrepeatable_output(
    run: TranslationRun,
    *,
    cases: int = 64,
    tolerance: float = 1 / 255,
    matching: str = "overlap",
    min_overlap: float = 0.25,
    dilate_mm: float = 3.0,
    min_lesion_pixels: int = 3,
    detector_sensitivity_min: float = 0.75,
    detector_false_alarm_max: float = 0.2,
    shown: int = 6,
) -> Findings:
    """Outputs that change although the input does not.

    Question. Does the model give the same output when it is given the same image again?

    What it measures. Cases drawn by patient are passed through the model again: in the same batches with the same seed,
    with another seed, each image alone, and on the other device (CPU or CUDA) where there is one and the model can be
    loaded on it. Compared with a first pass, the largest and the root mean square difference over the body are taken.
    The changed rate is the share of cases whose largest difference exceeds `tolerance`, by default one step of an 8-bit
    image, in any pass and by pass. With a detector, the share of lesions whose fate (as in PAT-001) differs between
    passes. The row of each case names the cause: not deterministic, draws random numbers, batch-dependent,
    device-dependent.

    Why it matters. An output that depends on a seed, or on who else was in the batch, is not the output that was
    validated. A lesion that is there in one pass and gone in the next was never measured. Batch normalization left in
    training mode makes a patient's image depend on other patients'.

    Known limits. Rare events need many passes: each case is passed four or five times, not thousands. A model that
    draws random numbers by design is flagged; whether that is acceptable is for the criteria to say. For a model that
    draws noise, dependence on the batch is looked for by exchanging every second image under the same seed; for one
    that is not deterministic it cannot be told. Other versions of libraries and other machines are not covered.

    Method and source. Repeatability as in ISO 5725-1 (same method, same item, short interval), on images; exact bounds
    by patient as PAT-001. PyTorch notes on reproducibility: results need not agree between devices and batch sizes,
    which is why differences below `tolerance` are printed and not counted.
    """
    findings = Findings()
    rule = matching_rule(CODE, matching, min_overlap, dilate_mm)
    how = LesionRule(rule, min_lesion_pixels, detector_sensitivity_min, detector_false_alarm_max)
    sample = sampled(run, CODE, cases)
    passes = _passes(run, sample, findings.notes)
    first = passes.pop("first pass")
    compared = {name: _differences(sample, first, outputs) for name, outputs in passes.items()}
    if _needs_companions(compared, tolerance):
        passes["other companions"] = _other_companions(run, sample)
        compared["other companions"] = _differences(sample, first, passes["other companions"])
    # What a model draws may miss an image in one pass and hit it in the next, so this is asked of the model as a whole.
    draws = any(d.beyond(tolerance) for d in compared["other seed"])
    causes = [_cause({n: d[k] for n, d in compared.items()}, tolerance, draws) for k in range(len(sample.items))]
    findings.estimates = _estimates(sample, compared, tolerance)
    findings.estimates.append(_status_changes(run, sample, [first, *passes.values()], how))
    findings.rows = _rows(run, sample, compared, causes)
    findings.excluded = not_sampled(run, sample)
    findings.notes[:0] = [_said(causes), _advice(causes)] if set(causes) != {ALIKE} else [_said(causes)]
    findings.exhibits.append(
        forest(
            f"{CODE}-passes",
            "Cases whose output changed, overall and by pass",
            f"Share of cases whose largest difference over the body exceeds {tolerance:.4f} of the unit range. Ends "
            "are one-sided 95 % bounds by patient.",
            [e for e in findings.estimates if e.measurement.id.startswith(f"{CODE}.changed_rate")],
            x=(0.0, 1.0),
        )
    )
    _show(findings, sample, first, passes, compared, shown)
    return findings


class Difference(NamedTuple):
    """How far one output is from that of the first pass, over the body, in unit range."""

    largest: float
    typical: float
    """Root mean square."""
    refused: bool = False
    """The model took the image in one pass and refused it in the other."""

    def beyond(self, tolerance: float) -> bool:
        """Whether it counts as a change."""
        return self.refused or self.largest > tolerance


def _passes(run: TranslationRun, sample: Sample, notes: list[str]) -> dict[str, list[Answer]]:
    passes = {
        "first pass": answers(run, sample.images, "first"),
        "same seed": answers(run, sample.images, "first"),
        "other seed": answers(run, sample.images, "second"),
    }
    if len({image.shape for image in sample.images}) < len(sample.images):
        passes["alone"] = answers(run, sample.images, "first", batch=1)
    else:
        notes.append("No two images of the sample have one size, so none was compared alone with itself in a batch.")
    other = _on_other_device(run.subject)
    if isinstance(other, str):
        notes.append(other)
    else:
        passes["other device"] = answers(run, sample.images, "first", subject=other)
        notes.append(f"The other device was {other.device}; the run's is {run.subject.device}.")
    return passes


def _on_other_device(subject: Subject) -> Subject | str:
    """The model on the device that it does not run on, or why there is no such."""
    if not subject.path.is_file() or subject.format == "ONNX":
        return f"The model runs on {subject.device} only, so it was not compared between devices."
    # With a GPU in use the CPU is the other one, and the other way round.
    import torch

    if subject.device == "cpu" and not torch.cuda.is_available():
        return "This machine has no CUDA device, so the model was not compared between devices."
    try:
        return load_subject(str(subject.path), "cuda" if subject.device == "cpu" else "cpu")
    except MedganQAError as error:
        return (
            f"The model could not be loaded on another device, so it was not compared between devices: {error.problem}"
        )


def _differences(sample: Sample, first: Sequence[Answer], outputs: Sequence[Answer]) -> list[Difference]:
    return [_difference(i.body, a, b) for i, a, b in zip(sample.items, first, outputs, strict=True)]


def _difference(body: Bool, first: Answer, again: Answer) -> Difference:
    if isinstance(first, str) or isinstance(again, str):
        return Difference(0.0, 0.0, isinstance(first, str) != isinstance(again, str))
    change = again.astype(np.float64) - first
    return Difference(float(np.abs(change[:, body]).max()), root_mean_square(change, body))


def _needs_companions(compared: Mapping[str, list[Difference]], tolerance: float) -> bool:
    def any_in(name: str) -> bool:
        return any(d.beyond(tolerance) for d in compared.get(name, []))

    # The noise of a model that draws it hides what the batch does, unless seed and batch size stay the same.
    return any_in("other seed") and any_in("alone") and not any_in("same seed")


def _other_companions(run: TranslationRun, sample: Sample) -> list[Answer]:
    """Every image once more at its place in the batch, with its neighbour's copies in place of every second image."""
    out: list[Answer] = [""] * len(sample.images)
    for parity in (0, 1):
        images = list(sample.images)
        for shape in dict.fromkeys(image.shape for image in images):
            same = [k for k, image in enumerate(images) if image.shape == shape]
            for place, k in enumerate(same):
                if place % 2 != parity and 0 <= (near := place + 1 - 2 * (place % 2)) < len(same):
                    images[k] = sample.images[same[near]]
        given = answers(run, images, "first")
        kept = [k for k, image in enumerate(images) if image is sample.images[k]]
        for k in kept:
            out[k] = given[k]
    return out


def _cause(differences: Mapping[str, Difference], tolerance: float, draws: bool) -> str:
    """Why one case changed, in words; `draws`: the model draws random numbers."""
    changed = {name for name, d in differences.items() if d.beyond(tolerance)}
    if "same seed" in changed:
        return "not deterministic"
    if draws:
        found = ["draws random numbers"] if changed - {"other companions"} else []
    else:
        found = [f"{what}-dependent" for name, what in ONLY_CAUSE.items() if name in changed]
    if "other companions" in changed:
        found.append("batch-dependent")
    return ", ".join(found) or ALIKE


def _said(causes: Sequence[str]) -> str:
    return f"Of {len(causes)} cases: " + ", ".join(f"{n} {cause}" for cause, n in Counter(causes).most_common()) + "."


def _advice(causes: Sequence[str]) -> str:
    said = {
        "not deterministic": "The output changes at the same seed: the model draws random numbers that the seed does "
        "not fix, or carries something over from one call to the next.",
        "draws random numbers": "The output changes with the seed: the model draws random numbers at inference, such "
        "as dropout or noise inputs left on.",
        "batch-dependent": "The output of an image depends on the other images in its batch: batch normalization or "
        "another statistic over the batch was left in training mode.",
        "device-dependent": "The output depends on the device that the model runs on.",
    }
    return " ".join(text for name, text in said.items() if any(name in cause for cause in causes))


def _estimates(sample: Sample, compared: Mapping[str, list[Difference]], tolerance: float) -> list[Estimate]:
    together = [max(column, key=lambda d: d.largest) for column in zip(*compared.values(), strict=True)]
    # One refusal among the passes is a change, whichever pass differs most.
    refused = [any(d.refused for d in column) for column in zip(*compared.values(), strict=True)]
    overall = [d._replace(refused=r) for d, r in zip(together, refused, strict=True)]
    out = []
    for name, differences in [(None, overall), *compared.items()]:
        out += [
            changed_rate(sample, [d.beyond(tolerance) for d in differences], name),
            _typical(sample, differences, name),
            plain(
                identifier(CODE, "largest_difference", name),
                "Largest difference over the body",
                max((d.largest for d in differences), default=None),
                n=len(differences),
                unit="unit range",
                unit_of_analysis="image",
                better="lower",
                stratum=name,
                reason=None if differences else "There is no image to compare.",
            ),
        ]
    return sorted(out, key=lambda e: (e.measurement.stratum is not None, e.measurement.id.split("[")[0]))


def changed_rate(sample: Sample, changed: Sequence[bool], stratum: str | None) -> Estimate:
    """Share of cases whose output changed, in a pass or in any."""
    return rate(
        identifier(CODE, "changed_rate", stratum),
        "Cases whose output changes although the input does not",
        changed,
        sample.patients,
        unit_of_analysis="image",
        stratum=stratum,
        units=[item.case.case_id for item in sample.items],
    )


def _typical(sample: Sample, differences: Sequence[Difference], stratum: str | None) -> Estimate:
    return median(
        identifier(CODE, "typical_difference", stratum),
        "Root mean square difference over the body, median patient",
        [d.typical for d in differences],
        sample.patients,
        unit="unit range",
        unit_of_analysis="image",
        better="lower",
        stratum=stratum,
        units=[item.case.case_id for item in sample.items],
    )


def _status_changes(
    run: TranslationRun, sample: Sample, passes: Sequence[Sequence[Answer]], how: LesionRule
) -> Estimate:
    void = objection_to_reader(run, CODE, how)
    read = [] if void else [followed(run, sample, outputs, how) for outputs in passes]
    first: Mapping[str, Lesion] = read[0] if read else {}
    again = [{name: lesion.status for name, lesion in lesions.items()} for lesions in read[1:]]
    return rate(
        f"{CODE}.status_change_rate",
        "Lesions whose fate differs between passes",
        [any(found.get(name) != lesion.status for found in again) for name, lesion in first.items()],
        [lesion.patient for lesion in first.values()],
        unit_of_analysis="lesion",
        void=void,
        units=list(first),
    )


def _rows(
    run: TranslationRun, sample: Sample, compared: Mapping[str, list[Difference]], causes: Sequence[str]
) -> list[Row]:
    at = {item.case.case_id: k for k, item in enumerate(sample.items)}

    def row(item: Item) -> Row:
        k = at.get(item.case.case_id)
        if k is None:
            return {**item.row, "status": "not drawn"}
        values: dict[str, Any] = {
            f"largest_{name.replace(' ', '_')}": "refused" if d[k].refused else round(d[k].largest, 7)
            for name, d in compared.items()
        }
        return {**item.row, **values, "status": causes[k]}

    return [row(item) for item in run.items]


def _show(
    findings: Findings,
    sample: Sample,
    first: Sequence[Answer],
    passes: Mapping[str, Sequence[Answer]],
    compared: Mapping[str, list[Difference]],
    shown: int,
) -> None:
    """The cases that changed most, each in the pass in which it did."""

    def largest(k: int) -> tuple[float, str]:
        return max((d[k].largest, name) for name, d in compared.items())

    order = sorted(range(len(sample.items)), key=lambda k: (-largest(k)[0], sample.items[k].case.case_id))
    picked = []
    for k in order[:shown]:
        difference, name = largest(k)
        before, after = first[k], passes[name][k]
        if isinstance(before, str) or isinstance(after, str):
            continue
        case = sample.items[k].case
        label = f"{name}, largest difference {difference:.4g}"
        picked.append(Pair(grey(after), grey(before), case.case_id, case.patient_id, label, "worst"))
    pairs(
        findings,
        f"{CODE}-cases",
        "Outputs that differ most between passes",
        f"The {len(picked)} cases with the largest difference over the body, in the pass in which it occurs.",
        picked,
        ("again", "first pass"),
    )
