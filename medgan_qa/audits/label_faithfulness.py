"""UTL-002: samples that do not show what their label says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from medgan_qa.audits._label_readers import Reading, by_detector, by_learner
from medgan_qa.audits._labelled_pictures import Counts, beside_nearest, chosen
from medgan_qa.audits.augmentation import AugmentationRun, Sides
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import forest, pairs
from medgan_qa.audits.numbers import ALPHA, identifier, rate
from medgan_qa.audits.training_utility import too_few
from medgan_qa.criteria import Declared, Estimate
from medgan_qa.record import Exhibit, Interval, Measurement
from medgan_qa.stats import required_n
from medgan_qa.stats.misread_labels import WrongLabels, wrong_labels

CODE = "UTL-002"
METHOD = (
    "Clopper-Pearson by unit on both parts (Bonferroni); no misreading taken off the upper end, all of it off the lower"
)
MOST_ROWS = 200


def label_faithfulness(
    run: AugmentationRun,
    *,
    recall_min: float = 0.75,
    min_lesion_pixels: int = 3,
    worst: int = 8,
    random: int = 4,
) -> Findings:
    """Label faithfulness.

    Question. Do the samples show what their labels say?

    What it measures. A learner is trained on the real training images and reads the real test images, which tells its
    errors, and the samples. The wrong-label rate is the share of samples of a label that show something else: the share
    that the reader contradicts, corrected for its errors on real images of that class and of the others. It is given
    for each label and over all of them. Where the classes are lesion and lesion-free, a detector of lesions, if there
    is one, reads too, and what it says stands beside. A reader whose recall of any class on real images, at its lower
    bound, is under recall_min is not qualified and gives no rate.

    Why it matters. A model that is trained on a tumour labelled as healthy learns to overlook it. A conditional
    generator that ignores its condition gives realistic images with labels drawn by lot, and no measure of realism or
    coverage notices.

    Known limits. The reader is small: where classes differ in what it cannot see it is not qualified, and the question
    stays open. It may be wrong on samples in ways in which it is not on real images: an artefact that it takes for a
    class counts as a wrong label. The bounds assume that it misses no more of a class among samples than among real
    images (lower end), and takes no more of the others for it (upper end). What is wrong within a label (a lesion of
    the wrong kind) is not seen.

    Method and source. Estimate: Rogan and Gladen 1978. Bounds: Clopper and Pearson 1934 on each part at half of the
    error rate, real images clustered by patient (Korn and Graubard 1998); the upper end takes every contradicted sample
    for a wrong label. Rates over all labels: the labels' rates in the proportions of the samples. Readers: the learner
    of UTL-001, and as in PAT-001 a detector that is measured before it is believed.
    """
    findings = Findings()
    sides = run.sides
    if isinstance(sides, str):
        findings.missing = sides
        return findings
    findings.missing = too_few(sides, 2)
    if findings.missing:
        return findings
    readings = [by_learner(sides), by_detector(run, sides, min_lesion_pixels)]
    for reading in (r for r in readings if r is not None):
        objection = _judged(findings, sides, reading, recall_min)
        if reading is readings[0]:
            findings.missing = objection
        findings.notes += [objection] if objection else []
    findings.excluded = run.unlabelled()
    _list_samples(findings, sides, [r for r in readings if r is not None])
    if readings[0] is not None and findings.missing is None:
        _show(findings, run, sides, readings[0], (worst, random))
    return findings


def _judged(findings: Findings, sides: Sides, reading: Reading, recall_min: float) -> str | None:
    """Add what one reader says; returns why it may not judge."""
    recalls = [_recall(sides, reading, code) for code in range(len(sides.classes))]
    objection = _unqualified(sides, reading, recalls, recall_min)
    rates = [_of_label(sides, reading, code, objection) for code in range(len(sides.classes))]
    there = [r for r in rates if r.measurement.n]
    overall = _overall(sides, reading, objection)
    findings.estimates += [overall, *there, *recalls]
    findings.exhibits += [
        forest(
            f"{CODE}-{reading.name}",
            f"Wrong labels, overall and by label, as the {reading.name} reads them",
            "Share of the samples of a label that show something else, corrected for the reader's errors on real "
            "images. Ends are one-sided 95 % bounds.",
            [overall, *there],
            x=(0.0, 1.0),
        ),
        _confusion(sides, reading),
    ]
    return objection


def _stratum(reading: Reading, name: str | None) -> str | None:
    """`class lesion`; of the detector `detector`, or `detector, class lesion`."""
    parts = [*([reading.name] if reading.name != "learner" else []), *([f"class {name}"] if name else [])]
    return ", ".join(parts) or None


def _recall(sides: Sides, reading: Reading, code: int) -> Estimate:
    missed = reading.missed(code)
    return rate(
        identifier(CODE, "reader_recall", _stratum(reading, sides.classes[code])),
        f"Real test images labelled {sides.classes[code]} that the {reading.name} reads so",
        [not event for event in missed.events],
        [str(patient) for patient in missed.clusters],
        unit_of_analysis="image",
        better="higher",
        stratum=_stratum(reading, sides.classes[code]),
        units=[reading.real.names[k] for k in reading.real.of(code)],
    )


def _unqualified(sides: Sides, reading: Reading, recalls: Sequence[Estimate], minimum: float) -> str | None:
    for name, recall in zip(sides.classes, recalls, strict=True):
        m = recall.measurement
        low = None if m.interval is None else m.interval.low
        if m.value is None or low is None or low < minimum:
            seen = (
                "none" if m.value is None or low is None else f"{m.value:.2f}, lower bound {low:.2f} over {m.n} images"
            )
            return (
                f"The {reading.name} is not shown to read real images labelled {name}: recall {seen}, and at least "
                f"{minimum:.2f} is needed. What it says of samples proves nothing; "
                + ("give more labelled real images." if reading.name == "learner" else "give another with --detector.")
            )
    return None


def _wrong(sides: Sides, reading: Reading, code: int, alpha: float) -> WrongLabels:
    others = [reading.taken(code, other) for other in range(len(sides.classes)) if other != code]
    return wrong_labels(reading.contradicted(code), reading.missed(code), others, alpha)


def _of_label(sides: Sides, reading: Reading, code: int, void: str | None) -> Estimate:
    name = sides.classes[code]

    def at(alpha: float) -> Interval:
        w = _wrong(sides, reading, code, alpha)
        return Interval(low=w.low, high=w.high, level=1 - alpha, method=METHOD, sided=1)

    counted = reading.contradicted(code)
    value = _wrong(sides, reading, code, ALPHA).value
    label = f"Samples labelled {name} that show something else"
    said = _Said(label, value, len(counted.events), len(set(counted.clusters)), sum(counted.events))
    return _estimate(said, _stratum(reading, name), at, void)


def _overall(sides: Sides, reading: Reading, void: str | None) -> Estimate:
    """The labels' rates, weighted by how many samples have the label; ends from the labels' at a share of the error."""
    sizes = np.bincount(reading.synthetic.codes, minlength=len(sides.classes))
    there = np.flatnonzero(sizes)
    weights = sizes[there] / sizes.sum()

    def at(alpha: float) -> Interval:
        each = [_wrong(sides, reading, int(code), alpha / len(there)) for code in there]
        low, high = (float(weights @ [w[end] for w in each]) for end in (1, 2))
        return Interval(low=low, high=high, level=1 - alpha, method=f"{METHOD}; labels weighted", sided=1)

    values = [_wrong(sides, reading, int(code), ALPHA).value for code in there]
    known = None if any(v is None for v in values) else float(weights @ np.array(values, dtype=np.float64))
    contradicted = sum(sum(reading.contradicted(int(code)).events) for code in there)
    units = len({unit for code in there for unit in reading.contradicted(int(code)).clusters})
    said = _Said("Samples that do not show what their label says", known, int(sizes.sum()), units, contradicted)
    return _estimate(said, _stratum(reading, None), at, void)


class _Said(NamedTuple):
    """What a wrong-label rate is made of."""

    label: str
    value: float | None
    n: int
    units: int
    contradicted: int


def _estimate(said: _Said, stratum: str | None, at: Callable[[float], Interval], void: str | None) -> Estimate:
    value = None if void else said.value
    reason = void or ("There is no sample of the label." if said.n == 0 else "The reader tells nothing apart.")

    def shortfall(declared: Declared, alpha: float) -> str | None:
        limit = declared.limit.get("max")
        if limit is None or not 0 < limit < 1:
            return None
        head = f"{said.contradicted} of {said.n} samples are contradicted"
        if said.contradicted >= limit * said.n:
            return f"{head}; that is at or above the limit, so more samples alone will not carry this claim"
        needed = required_n(limit, alpha / 2, said.contradicted)
        return f"{head}; about {needed} samples are needed for this claim with as many, or a reader with fewer errors"

    measurement = Measurement(
        id=identifier(CODE, "wrong_label_rate", stratum),
        label=said.label,
        value=value,
        unit="fraction",
        interval=at(ALPHA) if value is not None else None,
        n=said.n,
        unit_of_analysis="sample",
        better="lower",
        stratum=stratum,
        # Samples that are each their own unit belong to no patient.
        clusters=None if said.units == said.n else said.units,
        reason=None if value is not None else reason,
    )
    return Estimate(measurement, at if value is not None else None, shortfall)


def _confusion(sides: Sides, reading: Reading) -> Exhibit:
    """What images of each label are read as."""
    rows = []
    for origin, side, said in (
        ("real test images", reading.real, reading.said_of_real),
        ("samples", reading.synthetic, reading.said_of_samples),
    ):
        for code, name in enumerate(sides.classes):
            read = np.bincount(said[side.of(code)], minlength=len(sides.classes))
            rows.append([origin, name, *(str(int(count)) for count in read)])
    return Exhibit(
        id=f"{CODE}-{reading.name}-read",
        kind="counts",
        title=f"What the {reading.name} reads",
        caption="Images by their label (row) and by what they were read as (column).",
        data={"columns": ["images", "label", *(f"read as {name}" for name in sides.classes)], "rows": rows},
    )


def _list_samples(findings: Findings, sides: Sides, readings: Sequence[Reading]) -> None:
    """Contradicted samples as rows, the most doubtful first, and a table of all."""
    first = readings[0]
    order = np.argsort(-first.doubt, kind="stable")
    every = [_row(sides, readings, int(k)) for k in order]
    findings.tables[f"exhibits/{CODE}-samples.csv"] = every
    findings.rows = [row for row in every if row["read_by_learner"] != row["label"]][:MOST_ROWS]


def _row(sides: Sides, readings: Sequence[Reading], sample: int) -> Row:
    synthetic = sides.synthetic
    said = {f"read_by_{r.name}": sides.classes[r.said_of_samples[sample]] for r in readings}
    label = sides.classes[synthetic.codes[sample]]
    return {
        "case_id": synthetic.names[sample],
        "patient_id": synthetic.patients[sample],
        "label": label,
        **said,
        "log_odds_against_label": round(float(readings[0].doubt[sample]), 3),
        "status": "as labelled" if all(one == label for one in said.values()) else "contradicted",
    }


def _show(findings: Findings, run: AugmentationRun, sides: Sides, reading: Reading, counts: Counts) -> None:
    """The samples that contradict their label most, and others, each beside the nearest real image of the label."""
    order = np.argsort(-reading.doubt, kind="stable").tolist()
    picked = chosen(run, CODE, order, counts)

    def label(k: int) -> str:
        said = sides.classes[reading.said_of_samples[k]]
        return f"label {sides.classes[sides.synthetic.codes[k]]}, read as {said}"

    worst = sum(rule == "worst" for _, rule in picked)
    pairs(
        findings,
        f"{CODE}-samples",
        "Samples that speak most against their label, and others",
        f"The {worst} with the largest log odds against their label, and {len(picked) - worst} drawn at random from "
        "the others. Beside each the real training image of the same label with the least mean squared difference.",
        beside_nearest(picked, sides.synthetic, sides.train, label, real=False),
        ("sample", "nearest real image of the label"),
    )
