"""Estimates of INT-003: Dice by image, its gain over plain interpolation, and agreement of areas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from medgan_qa.audits._downstream_measures import ANNOTATED, READ, TRUTH, Read, patient_areas
from medgan_qa.audits._upscaled import IMAGES, MODEL, PLAIN, difference, stratum_mean
from medgan_qa.audits.numbers import ALPHA, identifier, observed, rate
from medgan_qa.audits.super_resolution import SuperResolutionRun
from medgan_qa.audits.translation import Item
from medgan_qa.criteria import Declared, Estimate
from medgan_qa.metrics.agreement import Agreement, Ends, bland_altman
from medgan_qa.record import Interval, Measurement
from medgan_qa.stats import FEWEST_CLUSTERS

LESION = "lesion"
LESION_DICE = "Dice of lesions with the annotation"
OTHER_CHANNELS = (
    "The detector reads other channels than the model's input has, so it was not given interpolated inputs."
)
T = "Student t over patients"
EXACT = "noncentral t over patients, exact for normal differences (Carkeet 2015)"
RATIO = "ratio of sums over patients, linearised variance, Student t"


class Areas(NamedTuple):
    """A quantity over the patients in whom it was measured, mm2 of a slice."""

    name: str
    patients: list[str]
    model: Agreement
    """Output against the annotation, or against the truth's class."""
    truth: Agreement | None
    """Lesions: the detector's reading of the truth against the annotation."""


def truth_dice(run: SuperResolutionRun, code: str, read: Read, patient: Mapping[str, str]) -> Estimate:
    """What the detector achieves on the true images."""
    return stratum_mean(run, code, "dice", LESION_DICE, TRUTH, read.lesion_dice(TRUTH, run.paired), patient)


def objection(own: Estimate, read: Read, items: Sequence[Item], least: float, most_marked: float) -> str:
    """Why the detector may not judge; nothing if it may.

    Args:
        own: its Dice on the true images.
        read: what it read.
        items: the cases.
        least: the least that the one-sided lower bound of that Dice may be.
        most_marked: the largest share of true lesion-free images that it may mark, judged on the estimate.
    """
    m = own.measurement
    if m.value is None:
        return ""
    low = m.interval.low if m.interval else None
    if low is None or low < least:
        bound = "no lower bound" if low is None else f"lower bound {low:.2f}"
        return (
            f"The detector is not shown to segment the true images: Dice {m.value:.2f}, {bound}, over {m.n} cases of "
            f"{m.clusters} patients, and at least {least:.2f} is needed. Give a detector for images of the output's "
            "kind (--detector), or more cases with lesions."
        )
    marked = [read.lesions[i.case.case_id].marked[TRUTH] for i in items if i.annotation == "lesion-free"]
    share = sum(marked) / len(marked) if marked else 0.0
    if share <= most_marked:
        return ""
    return (
        f"The detector marks something in {share:.0%} of the true lesion-free images (at most {most_marked:.0%} are "
        "allowed), so what it gains or loses on an upscaled image is no lesion. Give a more specific one (--detector)."
    )


def lesion_estimates(
    run: SuperResolutionRun, code: str, read: Read, patient: Mapping[str, str], void: str
) -> list[Estimate]:
    """Dice of every upscaled image, the model's gain over bicubic, and how often nothing is marked where nothing is."""
    values = {image: read.lesion_dice(image, run.paired) for image in IMAGES}
    unread = {image: void or ("" if values[image] else OTHER_CHANNELS) for image in IMAGES}
    plain = values[PLAIN]
    gain = difference(
        f"{code}.dice_gain",
        "Dice of lesions, model less bicubic",
        {c: (values[MODEL][c], plain[c]) for c in plain},
        [patient[c] for c in plain],
        statistic="mean",
        unit="1",
        better="higher",
        void=unread[PLAIN],
    )
    found = [gain]
    found += [stratum_mean(run, code, "dice", LESION_DICE, i, values[i], patient, unread[i]) for i in IMAGES]
    return [*found, *_unmarked(run, code, read, void)]


def _unmarked(run: SuperResolutionRun, code: str, read: Read, void: str) -> list[Estimate]:
    found = []
    for image in READ:
        free = [item for item in run.paired if item.annotation == "lesion-free" and item.case.case_id in read.lesions]
        free = [item for item in free if image in read.lesions[item.case.case_id].marked]
        if not free:
            continue
        one = rate(
            identifier(code, "unmarked_rate", image),
            "Lesion-free cases in which nothing is marked",
            [not read.lesions[item.case.case_id].marked[image] for item in free],
            [item.case.patient_id for item in free],
            unit_of_analysis="lesion-free case",
            better="higher",
            stratum=image,
            void=(void or None) if image != TRUTH else None,
            units=[item.case.case_id for item in free],
        )
        found.append(one)
    return found


def tissue_estimates(run: SuperResolutionRun, code: str, read: Read, patient: Mapping[str, str]) -> list[Estimate]:
    """Dice of tissue in every upscaled image, the model's gain over bicubic, and the model's Dice by class."""
    if not read.tissue:
        return []
    values = {image: read.tissue_dice(image) for image in IMAGES}
    gain = difference(
        f"{code}.tissue_dice_gain",
        "Dice of tissue, model less bicubic",
        {c: (values[MODEL][c], values[PLAIN][c]) for c in read.tissue},
        [patient[c] for c in read.tissue],
        statistic="mean",
        unit="1",
        better="higher",
    )
    label = "Dice of tissue with the truth's, mean over classes"
    found = [gain, *(stratum_mean(run, code, "tissue_dice", label, i, values[i], patient) for i in IMAGES)]
    for name in read.classes:
        held = {c: one.dice[MODEL][name] for c, one in read.tissue.items() if name in one.dice[MODEL]}
        found.append(stratum_mean(run, code, "class_dice", "Dice of a class of tissue, model", name, held, patient))
    return found


def areas(run: SuperResolutionRun, read: Read, *, lesions: bool) -> list[Areas]:
    """Every quantity with the areas of patients; that of lesions only where the detector may judge."""
    found = []
    if lesions and read.lesions:
        model, truth, mask = ({c: x.area[i] for c, x in read.lesions.items()} for i in (MODEL, TRUTH, ANNOTATED))
        names, output, reference = patient_areas(run.paired, model, mask)
        own = patient_areas(run.paired, truth, mask)[1]
        found.append(Areas(LESION, names, bland_altman(output, reference), bland_altman(own, reference)))
    for name in read.classes:
        cases = {c: one for c, one in read.tissue.items() if name in one.area[TRUTH]}
        model, truth = ({c: one.area[image][name] for c, one in cases.items()} for image in (MODEL, TRUTH))
        names, output, reference = patient_areas(run.paired, model, truth)
        found.append(Areas(name, names, bland_altman(output, reference), None))
    return found


def area_estimates(code: str, held: Areas) -> list[Estimate]:
    """Bias, limits of agreement and relative bias of one quantity."""
    a = held.model
    seen = observed("mean", held.patients, held.patients, a.difference.tolist())
    of = "the annotation" if held.name == LESION else "the truth"
    bias = _agreement(code, held, "area_bias", f"Area, output minus {of}", "mm2", a.bias, T)
    limits = [
        _agreement(code, held, f"area_limit_{side}", f"{words} limit of agreement of the area", "mm2", value, EXACT)
        for side, words, value in (("low", "Lower", a.limit("low")), ("high", "Upper", a.limit("high")))
    ]
    relative = _agreement(
        code, held, "area_relative_bias", f"Area, output minus {of}, relative", "fraction", a.relative(), RATIO
    )
    return [bias._replace(observations=seen), *limits, relative]


def _ends(a: Agreement, name: str, alpha: float) -> Ends:
    if name == "area_bias":
        return a.bias_interval(alpha)
    if name == "area_relative_bias":
        return a.relative_interval(alpha)
    return a.limit_interval("low" if name.endswith("low") else "high", alpha)


def _agreement(code: str, held: Areas, name: str, label: str, unit: str, value: float | None, method: str) -> Estimate:
    a: Any = held.model

    def at(alpha: float) -> Interval:
        low, high = _ends(a, name, alpha)
        words = method if low is not None else f"none: fewer than {FEWEST_CLUSTERS} patients"
        return Interval(low=low, high=high, level=1 - alpha, method=words, sided=1)

    def shortfall(declared: Declared, alpha: float) -> str | None:
        return None if a.n >= FEWEST_CLUSTERS else f"{a.n} patients are too few for a bound; {FEWEST_CLUSTERS} needed"

    measurement = Measurement(
        id=identifier(code, name, held.name),
        label=label,
        value=value,
        unit=unit,
        interval=None if value is None else at(ALPHA),
        n=a.n,
        unit_of_analysis="patient",
        better="none",
        stratum=held.name,
        clusters=a.n,
        reason=None if value is not None else "The true areas do not add up to more than 0.",
    )
    return Estimate(measurement, None if value is None else at, shortfall)
