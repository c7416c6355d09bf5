"""ROB-003: what comes out when the input is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits.catalogue import Findings, Row, stack
from medgan_qa.audits.exhibits import forest, sheet
from medgan_qa.audits.lesions import matching_rule
from medgan_qa.audits.numbers import identifier, median, rate
from medgan_qa.audits.run import grey
from medgan_qa.audits.translation import Item, TranslationRun
from medgan_qa.audits.unrepeatable_output import (
    Answer,
    LesionRule,
    Sample,
    answers,
    marks,
    not_sampled,
    objection_to_reader,
    sampled,
)
from medgan_qa.criteria import Estimate
from medgan_qa.metrics import components
from medgan_qa.metrics.perturbations import (
    Monitor,
    TissueLook,
    block_shuffled,
    calibrated_monitor,
    checkerboard,
    inverted,
    rician_noise,
    rotated,
    tissue_look,
    tissue_structure,
)

CODE = "ROB-003"

Float = NDArray[np.float32]

KINDS = ("noise", "empty", "checkerboard", "inverted", "rotated", "shuffled", "target")
AIR = 0.005
NOISE = 0.2
"""Receiver noise of an image without a patient, in unit range: as it should be, and amplified to fill the range."""
BLOCKS = 4
SQUARE_PX = 8
BOARD = (0.1, 0.7)
"""Levels of the checkerboard, in unit range."""
WITHOUT_TISSUE = ("noise", "empty", "checkerboard")
"""Kinds that show no body; a lesion in their outputs was invented."""
FEATURELESS = ("noise", "empty")
"""Kinds that show nothing at the scale of tissue; structure in their outputs was invented."""
GIVEN = 0.5
"""Share of a mark's pixels that are marked in the input too, from which on the mark was handed on and not invented."""
FEWEST_PATIENTS = 8
"""Half of them have to calibrate the monitor that the others are shown."""


class Foreign(NamedTuple):
    """One input that is not of the domain, and what became of it."""

    kind: str
    item: Item
    """The case that it was made from."""
    image: Float
    """(C, H, W), unit range."""
    answer: Answer
    tissue: float | None
    """Share of pixels with structure that the input does not have; None where refused or not asked."""
    lesions: int | None
    """Lesions that the detector marks in the output and not in the input; None where refused or not asked."""
    distance: float | None
    """Mean difference of the output's quantiles from those of normal outputs, unit range."""
    seen: bool | None
    """Whether the monitor of the input raises an alarm; None without one."""


def foreign_image(kind: str, item: Item, image: Float, g: np.random.Generator) -> Float | None:
    """An image (C, H, W) that is not of the source domain, made from one that is; None where it cannot be made."""
    makers: dict[str, Callable[[], Float]] = {
        "noise": lambda: rician_noise(np.zeros_like(image), NOISE, g),
        "empty": lambda: rician_noise(np.zeros_like(image), AIR, g),
        "inverted": lambda: inverted(image),
        "rotated": lambda: rotated(image),
        "shuffled": lambda: block_shuffled(image, BLOCKS, g),
        "checkerboard": lambda: checkerboard(image.shape, SQUARE_PX, *BOARD),
    }
    if kind != "target":
        return makers[kind]()
    target = item.channels[1]
    # Where source and target are one image there is nothing foreign about it.
    if target is None or target.shape != image.shape or np.array_equal(target, image):
        return None
    return target


def foreign_input(
    run: TranslationRun,
    *,
    cases: int = 32,
    guard_false_alarm: float = 0.01,
    matching: str = "overlap",
    min_overlap: float = 0.25,
    dilate_mm: float = 3.0,
    min_mark_pixels: int = 3,
    detector_sensitivity_min: float = 0.75,
    detector_false_alarm_max: float = 0.2,
    shown: int = 4,
) -> Findings:
    """What comes out when the input is not of the domain.

    Question. Given an image that it was never made for, does the model say so, or does it invent a patient?

    What it measures. From cases drawn by patient, images are made that are not of the source domain: noise, air, a
    checkerboard, the contrast inverted, a quarter turn, blocks exchanged, and the real image of the target domain. A
    model refuses when it raises an error or returns NaN or infinity; the model formats carry no other way to say so,
    and most models never refuse. What comes out otherwise is measured: the share of pixels that look like tissue (its
    intensity, near an edge of its steepness, three pixels wide) where noise or air went in, beside the same share in
    normal outputs; lesions that the detector marks in outputs of noise, air and checkerboard and, for the most part,
    not in these inputs themselves; and how far the output's intensities lie from those of normal outputs. A monitor of
    the input alone (histogram, an 8 x 8 thumbnail, edges at three scales) is calibrated on the test inputs at a
    false-alarm rate of `guard_false_alarm`; its detection rate says which of these inputs a simple guard before the
    model would stop. Its own false alarms are counted on patients that it was not calibrated on.

    Why it matters. In use, images are turned, mislabelled, empty or of another sequence, and a network answers all of
    them. A brain painted on an empty slice looks like any other brain. A guard on the input is the recommended control;
    this says what it can be trusted with.

    Known limits. The kinds are made by rule and stand for no frequency in use; a model or guard that passes them may
    fail on others, above all on another anatomy or scanner. Images of one kind resemble each other, so an interval
    describes further draws of that kind, not of all foreign images. A model that amplifies noise strongly makes
    structure of it at the scale that is looked at, and is counted as inventing. With fewer than 99 test inputs the
    guard's false-alarm rate is 1 / (n + 1), which the notes say.

    Method and source. Cohen et al. 2018 (features that a translator invents); Hendrycks and Gimpel 2017 (detection
    rates at a fixed false-alarm rate); Vovk et al. 2005 (threshold from order statistics of calibration scores);
    Mahalanobis 1936; bounds by patient as PAT-001.
    """
    findings = Findings()
    rule = matching_rule(CODE, matching, min_overlap, dilate_mm)
    how = LesionRule(rule, min_mark_pixels, detector_sensitivity_min, detector_false_alarm_max)
    void = objection_to_reader(run, CODE, how)
    sample = sampled(run, CODE, cases)
    guard = _guard(run, guard_false_alarm, findings.notes)
    normal = _Normal(run.items)
    foreign = {kind: _asked(run, sample, kind, normal, guard, None if void else how) for kind in KINDS}
    findings.estimates = [e for kind in KINDS for e in _of_kind(kind, foreign[kind], void)]
    findings.estimates += [*_of_normal(sample, normal), _false_alarms(run, guard_false_alarm)]
    every = [f for kind in KINDS for f in foreign[kind]]
    findings.rows = _rows(run, every)
    findings.tables[f"exhibits/{CODE}-images.csv"] = [_row(f) for f in every]
    findings.excluded = not_sampled(run, sample)
    findings.notes[:0] = [_said(every), *_why(every)]
    findings.exhibits.append(
        forest(
            f"{CODE}-guard",
            "Inputs that a simple guard stops, by kind",
            "Share of foreign inputs that the monitor of the input raises an alarm on. Ends are one-sided 95 % bounds.",
            [e for e in findings.estimates if e.measurement.id.startswith(f"{CODE}.guard")],
            x=(0.0, 1.0),
            label=lambda m: m.stratum or "the domain's own inputs (false alarms)",
        )
    )
    _show(findings, run, foreign, shown)
    return findings


class _Normal:
    """What the outputs of the domain's own inputs look like."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.look: TissueLook = tissue_look([i.output for i in items], [i.body for i in items])
        self.levels = np.mean([_levels(i.output) for i in items], axis=0)

    def distance(self, output: Float) -> float:
        """Mean difference of quantiles, unit range."""
        return float(np.abs(_levels(output) - self.levels).mean())


def _levels(image: Float) -> NDArray[np.float64]:
    return np.quantile(image.astype(np.float64), np.linspace(0.0, 1.0, 101))


def _guard(run: TranslationRun, false_alarm: float, notes: list[str]) -> Monitor | None:
    people = [item.case.patient_id for item in run.items]
    if len(set(people)) < FEWEST_PATIENTS:
        notes.append(f"A guard needs inputs of at least {FEWEST_PATIENTS} patients to be calibrated and tried.")
        return None
    monitor = calibrated_monitor([item.source for item in run.items], people, false_alarm)
    notes.append(
        f"The guard was calibrated on {monitor.n} test inputs of {len(set(people))} patients at a nominal false-alarm "
        f"rate of {monitor.rate:.2%}."
    )
    return monitor


def _asked(
    run: TranslationRun,
    sample: Sample,
    kind: str,
    normal: _Normal,
    guard: Monitor | None,
    how: LesionRule | None,
) -> list[Foreign]:
    """Every foreign image of one kind through model, detector and guard."""
    made = [
        (item, foreign_image(kind, item, image, rng.child(run.seed, CODE, kind, item.case.case_id)))
        for item, image in zip(sample.items, sample.images, strict=True)
    ]
    asked = [(item, image) for item, image in made if image is not None]
    images = [image for _, image in asked]
    outputs = answers(run, images, kind, label=f"Translating {kind} inputs")
    invented: list[int | None] = [None] * len(images)
    if how is not None and kind in WITHOUT_TISSUE:
        invented = _invented(run, asked, outputs, how.min_pixels)
    return [
        Foreign(
            kind=kind,
            item=item,
            image=image,
            answer=answer,
            tissue=_invented_tissue(kind, image, answer, normal.look),
            lesions=lesions,
            distance=None if isinstance(answer, str) else normal.distance(grey(answer)),
            seen=None if guard is None else guard.alarm(grey(image)),
        )
        for (item, image), answer, lesions in zip(asked, outputs, invented, strict=True)
    ]


def _invented_tissue(kind: str, image: Float, answer: Answer, look: TissueLook) -> float | None:
    if isinstance(answer, str) or kind not in FEATURELESS:
        return None
    return float(tissue_structure(grey(answer), look, grey(image)).mean())


def _invented(
    run: TranslationRun, asked: Sequence[tuple[Item, Float]], outputs: Sequence[Answer], min_pixels: int
) -> list[int | None]:
    """Marks in each output, most of whose pixels are not marked in the input itself; None where refused."""
    before = marks(run, [_readable(run, image) for _, image in asked])
    after = marks(run, outputs)
    return [
        None if marked is None else sum(not _given(mark, known) for mark in components(marked, min_pixels))
        for known, marked in zip(before, after, strict=True)
    ]


def _given(mark: NDArray[np.bool_], known: NDArray[np.bool_] | None) -> bool:
    # Nearness would explain everything away: noise holds marks of its own everywhere.
    return known is not None and float(known[mark].mean()) >= GIVEN


def _readable(run: TranslationRun, image: Float) -> Answer:
    """The input as a detector of the target domain can take it."""
    assert run.detector is not None
    channels = run.detector.card.channels_in
    return image if channels in (1, len(image)) else "another number of channels than the detector reads"


def _of_kind(kind: str, asked: Sequence[Foreign], void: str | None) -> list[Estimate]:
    out = [
        _rate("refused_rate", "Foreign inputs that the model refuses", kind, asked, _is_refused, better="higher"),
        _rate("guard_detection_rate", "Foreign inputs that the guard stops", kind, asked, lambda f: f.seen, "higher"),
        _median("output_distance", "Output intensities away from normal outputs", kind, asked, lambda f: f.distance),
    ]
    if kind in FEATURELESS:
        label = "Share of pixels with invented tissue-like structure"
        out.append(_median("invented_tissue_share", label, kind, asked, lambda f: f.tissue, "fraction"))
    if kind in WITHOUT_TISSUE:
        label = "Foreign inputs in whose output a lesion was invented"
        out.append(_rate("invented_lesion_rate", label, kind, asked, _has_invented, void=void))
    return out


def _has_invented(foreign: Foreign) -> bool | None:
    return None if foreign.lesions is None else foreign.lesions > 0


def _is_refused(foreign: Foreign) -> bool:
    return isinstance(foreign.answer, str)


def _rate(
    name: str,
    label: str,
    kind: str,
    asked: Sequence[Foreign],
    event: Callable[[Foreign], bool | None],
    better: str = "lower",
    void: str | None = None,
) -> Estimate:
    held = [(f, e) for f in asked if (e := event(f)) is not None]
    return rate(
        identifier(CODE, name, kind),
        label,
        [e for _, e in held],
        [f.item.case.patient_id for f, _ in held],
        unit_of_analysis="foreign input",
        better=better,
        stratum=kind,
        void=void,
        units=[f.item.case.case_id for f, _ in held],
    )


def _median(
    name: str,
    label: str,
    kind: str,
    asked: Sequence[Foreign],
    value: Callable[[Foreign], float | None],
    unit: str = "unit range",
) -> Estimate:
    held = [(f, v) for f in asked if (v := value(f)) is not None]
    return median(
        identifier(CODE, name, kind),
        f"{label}, median patient",
        [v for _, v in held],
        [f.item.case.patient_id for f, _ in held],
        unit=unit,
        unit_of_analysis="foreign input",
        better="lower" if name == "invented_tissue_share" else "none",
        stratum=kind,
        units=[f.item.case.case_id for f, _ in held],
    )


def _of_normal(sample: Sample, normal: _Normal) -> list[Estimate]:
    """The same numbers of the domain's own inputs, to read the others beside."""
    values = {
        "normal_tissue_share": ("Share of pixels with tissue-like structure in normal outputs", "fraction"),
        "output_distance": ("Output intensities away from normal outputs", "unit range"),
    }
    measured = {
        "normal_tissue_share": [float(tissue_structure(i.output, normal.look).mean()) for i in sample.items],
        "output_distance": [normal.distance(i.output) for i in sample.items],
    }
    return [
        median(
            identifier(CODE, name, "normal" if name == "output_distance" else None),
            f"{label}, median patient",
            measured[name],
            sample.patients,
            unit=unit,
            unit_of_analysis="image",
            better="none",
            stratum="normal" if name == "output_distance" else None,
            units=[i.case.case_id for i in sample.items],
        )
        for name, (label, unit) in values.items()
    ]


def _false_alarms(run: TranslationRun, false_alarm: float) -> Estimate:
    """Alarms on the domain's own inputs, each half of the patients shown to a monitor calibrated on the other."""
    names = sorted({item.case.patient_id for item in run.items})
    order = rng.child(run.seed, CODE, "halves").permutation(len(names))
    halves = [{names[k] for k in order[part::2]} for part in (0, 1)]
    events: list[bool] = []
    shown: list[Item] = []
    for half in halves if len(names) >= FEWEST_PATIENTS else []:
        left, taken = ([i for i in run.items if (i.case.patient_id in half) == inside] for inside in (False, True))
        monitor = calibrated_monitor([i.source for i in left], [i.case.patient_id for i in left], false_alarm)
        events += [monitor.alarm(i.source) for i in taken]
        shown += taken
    return rate(
        f"{CODE}.guard_false_alarm_rate",
        "False alarms of the guard on inputs of patients that it was not calibrated on",
        events,
        [i.case.patient_id for i in shown],
        unit_of_analysis="image",
        units=[i.case.case_id for i in shown],
    )


def _said(every: Sequence[Foreign]) -> str:
    refused = sum(map(_is_refused, every))
    if refused:
        return f"The model refused {refused} of {len(every)} foreign inputs."
    return (
        f"The model answered all {len(every)} foreign inputs with an image. Its format has no way to say that an input "
        "is foreign but to raise an error or to return NaN, and it did neither."
    )


def _why(every: Sequence[Foreign]) -> list[str]:
    reasons = Counter(f.answer for f in every if isinstance(f.answer, str))
    return [f"{n} were refused so: {text}." for text, n in reasons.most_common(3)]


def _rows(run: TranslationRun, every: Sequence[Foreign]) -> list[Row]:
    by_case: dict[str, list[Foreign]] = {}
    for foreign in every:
        by_case.setdefault(foreign.item.case.case_id, []).append(foreign)

    def row(item: Item) -> Row:
        mine = by_case.get(item.case.case_id)
        if mine is None:
            return {**item.row, "status": "not drawn"}
        refused, stopped = sum(map(_is_refused, mine)), sum(bool(f.seen) for f in mine)
        counts: dict[str, Any] = {"foreign_inputs": len(mine), "refused": refused, "stopped_by_guard": stopped}
        invented = any(f.lesions for f in mine)
        status = "invented lesion" if invented else "refused" if refused == len(mine) else "answered"
        return {**item.row, **counts, "status": status}

    return [row(item) for item in run.items]


def _row(foreign: Foreign) -> Row:
    return {
        **foreign.item.row,
        "kind": foreign.kind,
        "answer": foreign.answer if isinstance(foreign.answer, str) else "image",
        "invented_tissue_share": None if foreign.tissue is None else round(foreign.tissue, 4),
        "invented_lesions": foreign.lesions,
        "output_distance": None if foreign.distance is None else round(foreign.distance, 5),
        "guard_alarm": foreign.seen,
    }


def _show(findings: Findings, run: TranslationRun, foreign: Mapping[str, Sequence[Foreign]], shown: int) -> None:
    """Inputs and outputs of each kind, from the same cases drawn by seed."""
    groups: dict[str, Float] = {}
    for kind, asked in foreign.items():
        answered = [(f.image, f.answer) for f in asked if not isinstance(f.answer, str)]
        order = rng.child(run.seed, CODE, "shown").permutation(len(answered))[:shown]
        if answered:
            groups[f"{kind}: input"] = stack([grey(answered[k][0]) for k in order])
            groups[f"{kind}: output"] = stack([grey(answered[k][1]) for k in order])
    # One sheet holds images of one size.
    height, width = (max((g.shape[axis] for g in groups.values()), default=0) for axis in (1, 2))
    even = {
        label: np.pad(g, ((0, 0), (0, height - g.shape[1]), (0, width - g.shape[2]))) for label, g in groups.items()
    }
    sheet(
        findings,
        f"{CODE}-images",
        "Foreign inputs and what came out",
        "Inputs that are not of the domain, and below them the model's outputs, of cases drawn by the run's seed.",
        even,
        columns=max(shown, 1),
    )
