"""Before a detector may judge a model it is measured itself, on the real images of the target domain."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from medgan_qa.audits._false_marks import false_marks
from medgan_qa.audits.lesions import Lesion
from medgan_qa.audits.numbers import rate
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.criteria import Estimate
from medgan_qa.metrics import MatchingRule

NO_DETECTOR = (
    "No detector of lesions was given. Give one that reads the target domain: --detector FILE, a model whose card has "
    'task = "segmentation".'
)
INDISCRIMINATE = 0.25
"""A detector that marks more than this share of the real lesion-free tissue finds every lesion and sees none."""


class Qualification(NamedTuple):
    """What the detector can do on real images of the target domain."""

    estimates: list[Estimate]
    objection: str | None
    """Why it may not judge; None if it may."""


def qualify(
    code: str,
    run: TranslationRun,
    lesions: list[Lesion],
    rule: MatchingRule,
    *,
    min_pixels: int,
    sensitivity_min: float,
    false_alarm_max: float,
) -> Qualification:
    """Measure a detector's sensitivity and false alarms on the real reference images.

    Both claims need both: a blind detector sees no invented lesion, and one that marks everything finds every lesion
    that was removed.

    Args:
        code: the audit that asks.
        run: the run.
        lesions: its annotated lesions, read.
        rule: when a reading finds a lesion.
        min_pixels: smaller marks are not counted.
        sensitivity_min: the least that the one-sided lower bound of the sensitivity may be.
        false_alarm_max: the largest share of real lesion-free images that may be marked.
    """
    sensitivity = _sensitivity(code, lesions)
    alarms = _false_alarm_rate(code, run, rule, min_pixels)
    objection = (
        _too_blind(sensitivity, sensitivity_min) or _too_eager(alarms, false_alarm_max) or _indiscriminate(run, lesions)
    )
    return Qualification([sensitivity, alarms], objection)


def _sensitivity(code: str, lesions: list[Lesion]) -> Estimate:
    return rate(
        f"{code}.detector_sensitivity",
        "Detector sensitivity on real target images",
        [bool(lesion.found_reference) for lesion in lesions],
        [lesion.patient for lesion in lesions],
        unit_of_analysis="lesion",
        better="higher",
    )


def _false_alarm_rate(code: str, run: TranslationRun, rule: MatchingRule, min_pixels: int) -> Estimate:
    free = [i for i in run.paired if i.lesion is not None and not i.lesion.any()]
    marked = false_marks(run, free, rule, min_pixels, of="reference")
    return rate(
        f"{code}.detector_false_alarm_rate",
        "Detector false alarms on real lesion-free images",
        [bool(marked[i.case.case_id]) for i in free],
        [i.case.patient_id for i in free],
        unit_of_analysis="lesion-free case",
    )


def _too_blind(sensitivity: Estimate, minimum: float) -> str | None:
    m = sensitivity.measurement
    if m.value is None or m.interval is None or m.interval.low is None:
        return "The detector cannot be qualified: no test case has an annotated lesion and a reference image."
    if m.interval.low >= minimum:
        return None
    kind = "is blind to" if m.value < 0.2 else "is not shown to read"
    return (
        f"The detector {kind} the lesions of the real target images: sensitivity {m.value:.2f}, lower bound "
        f"{m.interval.low:.2f} over {m.n} lesions of {m.clusters} patients, and at least {minimum:.2f} is needed. "
        "Give a detector that reads this domain (--detector), or more lesions."
    )


def _too_eager(alarms: Estimate, maximum: float) -> str | None:
    # Judged on the estimate: false alarms on real images are taken off case by case anyway, this refuses the hopeless.
    value = alarms.measurement.value
    if value is None or value <= maximum:
        return None
    return (
        f"The detector marks {value:.0%} of the real lesion-free images (at most {maximum:.0%} are allowed), so its "
        "marks on the model's images prove nothing. Give a more specific one with --detector."
    )


def _indiscriminate(run: TranslationRun, lesions: list[Lesion]) -> str | None:
    items = {item.case.case_id: item for lesion in lesions for item in lesion.items}.values()
    shares = [
        float(np.mean(run.readings[i.case.case_id].reference[i.body & ~i.lesion]))
        for i in items
        if i.lesion is not None and (i.body & ~i.lesion).any()
    ]
    share = float(np.mean(shares)) if shares else 0.0
    if share <= INDISCRIMINATE:
        return None
    return (
        f"The detector marks {share:.0%} of the tissue outside lesions in the real images, so finding a lesion means "
        "nothing. Give a more specific one with --detector."
    )
