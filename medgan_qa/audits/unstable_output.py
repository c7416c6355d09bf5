"""ROB-002: outputs that change more than their input did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits._lost_lesions import losses_of
from medgan_qa.audits._passes import Answer, LesionRule, Sample, answers, not_sampled, rows_of, sampled
from medgan_qa.audits._perturbations import CODE, Float, Perturbation, perturbations, perturbed
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import Pair, forest, pairs
from medgan_qa.audits.lesions import matching_rule
from medgan_qa.audits.numbers import identifier, median, rate
from medgan_qa.audits.run import grey
from medgan_qa.audits.translation import Item, TranslationRun
from medgan_qa.criteria import Estimate
from medgan_qa.metrics.perturbations import gain

Bool = NDArray[np.bool_]


class Change(NamedTuple):
    """What one perturbation did to one case."""

    body: float | None
    lesions: float | None
    """Gain over the body and over the annotated lesions; None where there is none, or the model refused."""
    refusal: str | None = None


def unstable_output(
    run: TranslationRun,
    *,
    cases: int = 48,
    gain_max: float = 3.0,
    noise: str = "rician",
    noise_sigma: float = 0.015,
    bias: float = 0.08,
    shift_px: int = 1,
    gamma: float = 0.05,
    scale: float = 0.03,
    matching: str = "overlap",
    min_overlap: float = 0.25,
    dilate_mm: float = 3.0,
    min_lesion_pixels: int = 3,
    detector_sensitivity_min: float = 0.75,
    detector_false_alarm_max: float = 0.2,
    shown: int = 6,
) -> Findings:
    """Outputs that change more than their input did.

    Question. Does a change of the input that a scanner makes every day leave the output, and the lesions in it, as they
    were?

    What it measures. Cases drawn by patient are translated again after acquisition noise (Rician or Gaussian, standard
    deviation a share `noise_sigma` of the value range), a smooth bias field (up to +-`bias`), a shift of `shift_px`
    pixels along both axes (the output is moved back before it is compared, and the border left out), a gamma of 1 +-
    `gamma` and a scale of 1 +- `scale`. The gain is the root mean square change of the output over that of the input,
    over the body and over annotated lesions apart: 1 for a model that hands a change on, 0 for one that does not see
    it. The high-gain rate is the share of cases with a gain above `gain_max`. With a detector, lesions that are kept
    without and removed with a perturbation (as in PAT-001) are counted. The detector reads the real reference under the
    same perturbation too, and what it loses there is its own inconsistency, printed beside the rate and taken off its
    lower end.

    Why it matters. Networks for image reconstruction can turn perturbations that nobody sees into structure, or lose
    structure to them (Antun et al. 2020). A lesion that is there on one scanner and gone on a slightly noisier one was
    kept by chance.

    Known limits. These perturbations are drawn at random, not searched for: an adversary finds worse. A change of
    contrast has a gain of its own wherever tissues lie far apart in the target domain, so gains are to be compared
    between versions of a model more than with 1. A gain near 0 may also mean that the model does not see its input. A
    lesion that the output shows only just above the detector's threshold is lost to any small change; the reader's own
    inconsistency is measured on real images, where the same lesion may stand far above it. A model that takes only
    known images refuses every perturbed one, and is counted as refusing.

    Method and source. Antun V et al., On instabilities of deep learning in image reconstruction and the potential costs
    of AI, PNAS 2020 (change of output against change of input); Gudbjartsson and Patz 1995 (Rician noise); Sled et al.
    1998 (smooth multiplicative field); bounds by patient as PAT-001.
    """
    findings = Findings()
    rule = matching_rule(CODE, matching, min_overlap, dilate_mm)
    how = LesionRule(rule, min_lesion_pixels, detector_sensitivity_min, detector_false_alarm_max)
    kinds = perturbations(noise, noise_sigma, bias, shift_px, gamma, scale)
    sample = sampled(run, CODE, cases)
    # The run's own outputs come from other batches; a first pass of its own keeps what a batch does out of the gain.
    first = answers(run, sample.images, "clean")
    again, changes = {}, {}
    for p in kinds:
        moved = perturbed(run.seed, sample.items, sample.images, p)
        again[p.name] = answers(run, moved, "clean", label=f"Translating under {p.name}")
        changes[p.name] = _changes(sample, moved, first, again[p.name], p)
    findings.estimates = [
        *_gains(sample, changes, gain_max),
        *losses_of(run, sample, first, again, kinds, how),
        _refused(sample, changes),
    ]
    findings.rows = _rows(run, sample, changes, gain_max)
    findings.excluded = not_sampled(run, sample)
    for k, item in enumerate(sample.items):
        if all(c[k].refusal for c in changes.values()):
            findings.excluded[item.case.case_id] = "refused every perturbed image"
    refusals = Counter(c.refusal for column in changes.values() for c in column if c.refusal)
    findings.notes += [f"{n} perturbed images were refused: {text}." for text, n in refusals.most_common(3)]
    findings.exhibits.append(
        forest(
            f"{CODE}-gain",
            "Gain over the body, by perturbation",
            "Change of the output over change of the input, root mean square over the body, median patient. Ends are "
            "one-sided 95 % bounds.",
            [e for e in findings.estimates if e.measurement.id.startswith(f"{CODE}.gain")],
            x=(0.0, max(gain_max, *(c.body or 0.0 for column in changes.values() for c in column))),
            label=lambda m: f"{m.stratum or 'largest of all'}{', lesions' if 'lesion' in m.id else ''}",
        )
    )
    _show(findings, sample, first, again, changes, kinds, shown)
    return findings


def _changes(
    sample: Sample, moved: Sequence[Float], first: Sequence[Answer], outputs: Sequence[Answer], p: Perturbation
) -> list[Change]:
    together = zip(sample.items, sample.images, moved, first, outputs, strict=True)
    return [_change(item, before, after, clean, output, p) for item, before, after, clean, output in together]


def _change(item: Item, before: Float, after: Float, clean: Answer, output: Answer, p: Perturbation) -> Change:
    if isinstance(clean, str) or isinstance(output, str):
        return Change(None, None, output if isinstance(output, str) else str(clean))
    inside = _inside(item.body, p)
    lesion = None if item.lesion is None else item.lesion & inside
    given, came = after.astype(np.float64) - before, p.undo(output).astype(np.float64) - clean
    return Change(
        gain(came, given, inside) if inside.any() else None,
        gain(came, given, lesion) if lesion is not None and lesion.any() else None,
    )


def _inside(body: Bool, p: Perturbation) -> Bool:
    """The body without the border that a shift brings in, at either end."""
    inside = body.copy()
    border = max(abs(d) for d in p.shift)
    if border:
        inside[:border], inside[-border:], inside[:, :border], inside[:, -border:] = False, False, False, False
    return inside


def _gains(sample: Sample, changes: Mapping[str, list[Change]], gain_max: float) -> list[Estimate]:
    over_all = [_worst(column) for column in zip(*changes.values(), strict=True)]
    strata: list[tuple[str | None, list[Change]]] = [(None, over_all), *changes.items()]
    return [
        *(_median_gain(sample, "gain", "Gain over the body", [c.body for c in cs], name) for name, cs in strata),
        *(_median_gain(sample, "lesion_gain", "Gain in lesions", [c.lesions for c in cs], name) for name, cs in strata),
        *(_high(sample, [c.body for c in column], gain_max, name) for name, column in strata),
    ]


def _worst(column: Sequence[Change]) -> Change:
    """The largest gains of a case under any perturbation."""
    return Change(
        max((c.body for c in column if c.body is not None), default=None),
        max((c.lesions for c in column if c.lesions is not None), default=None),
    )


def _median_gain(sample: Sample, name: str, label: str, gains: Sequence[float | None], stratum: str | None) -> Estimate:
    held = [(item, g) for item, g in zip(sample.items, gains, strict=True) if g is not None]
    return median(
        identifier(CODE, name, stratum),
        f"{label}, median patient" if stratum else f"{label}, largest over the perturbations, median patient",
        [g for _, g in held],
        [item.case.patient_id for item, _ in held],
        unit="1",
        unit_of_analysis="image",
        better="lower",
        stratum=stratum,
        units=[item.case.case_id for item, _ in held],
    )


def _high(sample: Sample, gains: Sequence[float | None], gain_max: float, stratum: str | None) -> Estimate:
    held = [(item, g) for item, g in zip(sample.items, gains, strict=True) if g is not None]
    return rate(
        identifier(CODE, "high_gain_rate", stratum),
        f"Cases with a gain above {gain_max:g} over the body",
        [g > gain_max for _, g in held],
        [item.case.patient_id for item, _ in held],
        unit_of_analysis="image",
        stratum=stratum,
        units=[item.case.case_id for item, _ in held],
    )


def _refused(sample: Sample, changes: Mapping[str, list[Change]]) -> Estimate:
    return rate(
        f"{CODE}.refused_rate",
        "Cases of which the model refuses a perturbed image",
        [any(c.refusal for c in column) for column in zip(*changes.values(), strict=True)],
        sample.patients,
        unit_of_analysis="image",
        units=sample.case_ids,
    )


def _rows(run: TranslationRun, sample: Sample, changes: Mapping[str, list[Change]], gain_max: float) -> list[Row]:
    def values(k: int) -> Row:
        mine = {name: column[k] for name, column in changes.items()}
        gains: dict[str, Any] = {
            f"gain_{name.replace(' ', '_')}": None if c.body is None else round(c.body, 4) for name, c in mine.items()
        }
        return {**gains, "status": _status(list(mine.values()), gain_max)}

    return rows_of(run, sample, values)


def _status(changes: Sequence[Change], gain_max: float) -> str:
    if all(c.refusal for c in changes):
        return "refused"
    worst = max((c.body for c in changes if c.body is not None), default=0.0)
    return "high gain" if worst > gain_max else "stable"


def _show(
    findings: Findings,
    sample: Sample,
    first: Sequence[Answer],
    again: Mapping[str, Sequence[Answer]],
    changes: Mapping[str, list[Change]],
    kinds: Sequence[Perturbation],
    shown: int,
) -> None:
    """The cases with the largest gains, each under the perturbation that has it."""
    order = sorted(
        ((c.body, sample.items[k].case.case_id, k, p) for p in kinds for k, c in enumerate(changes[p.name]) if c.body),
        key=lambda entry: (-entry[0], entry[1], entry[3].name),
    )
    picked: dict[str, Pair] = {}
    for value, case_id, k, p in order:
        before, after = first[k], again[p.name][k]
        if len(picked) >= shown or case_id in picked or isinstance(before, str) or isinstance(after, str):
            continue
        patient, label = sample.items[k].case.patient_id, f"{p.name}, gain {value:.2f}"
        picked[case_id] = Pair(grey(p.undo(after)), grey(before), case_id, patient, label, "worst")
    pairs(
        findings,
        f"{CODE}-cases",
        "Largest gains",
        f"The {len(picked)} cases with the largest gain over the body, under the perturbation that has it.",
        list(picked.values()),
        ("perturbed input", "clean input"),
    )
