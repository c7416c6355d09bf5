"""ROB-002: outputs that change more than their input did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import Pair, forest, pairs
from medgan_qa.audits.lesions import REMOVED, Lesion, matching_rule
from medgan_qa.audits.numbers import Noise, identifier, median, rate
from medgan_qa.audits.run import grey
from medgan_qa.audits.translation import Item, TranslationRun
from medgan_qa.audits.unrepeatable_output import (
    Answer,
    LesionRule,
    Sample,
    answers,
    followed,
    marks,
    not_sampled,
    objection_to_reader,
    sampled,
    with_lesions,
)
from medgan_qa.criteria import Estimate
from medgan_qa.errors import ConfigurationError
from medgan_qa.metrics.perturbations import biased, gain, gamma_changed, gaussian_noise, rician_noise, shifted

CODE = "ROB-002"

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

NOISES = {"rician": rician_noise, "gaussian": gaussian_noise}


class Perturbation(NamedTuple):
    """A change of the input, and how to bring what comes out back to where the input was."""

    name: str
    apply: Callable[[Float, np.random.Generator], Float]
    """(C, H, W) and the case's own generator to the same shape."""
    shift: tuple[int, int] = (0, 0)
    """Pixels that it moves the image, down and to the right."""

    def undo(self, image: NDArray[Any]) -> NDArray[Any]:
        """An image or mask of the output, moved back."""
        dy, dx = self.shift
        return shifted(image, -dy, -dx) if self.shift != (0, 0) else image


def perturbations(
    noise: str, noise_sigma: float, bias: float, shift_px: int, gamma: float, scale: float
) -> list[Perturbation]:
    """The perturbations that the audit's parameters ask for; one with a size of 0 is left out.

    Raises:
        ConfigurationError: an unknown kind of noise, a size below 0, or nothing but sizes of 0.
    """
    sizes = {"noise_sigma": noise_sigma, "bias": bias, "shift_px": shift_px, "gamma": gamma, "scale": scale}
    if noise not in NOISES or min(sizes.values()) < 0 or not any(sizes.values()):
        raise ConfigurationError(
            f"The perturbations of {CODE} cannot be made.",
            expected=f"noise one of {', '.join(NOISES)}; sizes of 0 or more, one of them above 0",
            found=", ".join(f"{name} = {value}" for name, value in {"noise": noise, **sizes}.items()),
            where=f'[parameters."{CODE}"] of the criteria file',
            todo=f"`medgan-qa explain {CODE}` lists the parameters.",
        )
    made = [
        Perturbation("noise", lambda x, g: NOISES[noise](x, noise_sigma, g)),
        Perturbation("bias field", lambda x, g: biased(x, bias, g)),
        Perturbation("shift", lambda x, g: shifted(x, shift_px, shift_px), (shift_px, shift_px)),
        Perturbation("gamma", lambda x, g: gamma_changed(x, float(1 + gamma * g.choice((-1, 1))))),
        Perturbation("scale", lambda x, g: (x * np.float32(1 + scale * g.choice((-1, 1)))).astype(np.float32)),
    ]
    return [p for p, size in zip(made, sizes.values(), strict=True) if size]


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
    again = {p.name: _perturbed_answers(run, sample, p) for p in kinds}
    changes = {p.name: _changes(run, sample, first, again[p.name], p) for p in kinds}
    findings.estimates = [
        *_gains(sample, changes, gain_max),
        *_losses(run, sample, first, again, kinds, how),
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


def _inputs(run: TranslationRun, sample: Sample, images: Sequence[Float], p: Perturbation) -> list[Float]:
    """Images of the cases, perturbed; the same draw for every image of a case."""
    draws = [rng.child(run.seed, CODE, p.name, item.case.case_id) for item in sample.items]
    return [p.apply(image, g) for image, g in zip(images, draws, strict=True)]


def _perturbed_answers(run: TranslationRun, sample: Sample, p: Perturbation) -> list[Answer]:
    return answers(run, _inputs(run, sample, sample.images, p), "clean", label=f"Translating under {p.name}")


def _changes(
    run: TranslationRun, sample: Sample, first: Sequence[Answer], outputs: Sequence[Answer], p: Perturbation
) -> list[Change]:
    moved = _inputs(run, sample, sample.images, p)
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
        units=[item.case.case_id for item in sample.items],
    )


class Loss(NamedTuple):
    """A lesion that the clean output keeps, under one perturbation."""

    lesion: Lesion
    lost: bool
    """Removed from the output."""
    reader: bool
    """The detector does not find it in the perturbed real reference either."""


def _losses(
    run: TranslationRun,
    sample: Sample,
    first: Sequence[Answer],
    again: Mapping[str, Sequence[Answer]],
    kinds: Sequence[Perturbation],
    how: LesionRule,
) -> list[Estimate]:
    void = objection_to_reader(run, CODE, how)
    losses: dict[str, list[Loss]] = {p.name: [] for p in kinds}
    if void is None:
        kept = {n: x for n, x in followed(run, sample, first, how).items() if x.status not in REMOVED}
        losses = {p.name: _lost(run, sample, kept, again[p.name], p, how) for p in kinds}
    over_all = _in_any(list(losses.values()))
    strata: list[tuple[str | None, list[Loss]]] = [(None, over_all), *losses.items()]
    return [
        *(_loss_rate(group, name, void) for name, group in strata),
        *(_reader_rate(group, name, void) for name, group in strata),
    ]


def _lost(
    run: TranslationRun,
    sample: Sample,
    kept: Mapping[str, Lesion],
    outputs: Sequence[Answer],
    p: Perturbation,
    how: LesionRule,
) -> list[Loss]:
    """Every kept lesion that could be followed under one perturbation."""
    after = _followed_back(run, sample, outputs, p, how)
    real: list[Answer] = [item.channels[1] if item.channels[1] is not None else "no reference" for item in sample.items]
    changed = iter(_perturbed_references(run, sample, p))
    reference = _followed_back(run, sample, [r if isinstance(r, str) else next(changed) for r in real], p, how)
    return [
        Loss(lesion, after[name].status in REMOVED, not reference[name].found_output)
        for name, lesion in kept.items()
        if name in after and name in reference
    ]


def _perturbed_references(run: TranslationRun, sample: Sample, p: Perturbation) -> list[Float]:
    paired = [item for item in sample.items if item.channels[1] is not None]
    images = [item.channels[1] for item in paired if item.channels[1] is not None]
    return _inputs(run, Sample(paired, images), images, p)


def _followed_back(
    run: TranslationRun, sample: Sample, outputs: Sequence[Answer], p: Perturbation, how: LesionRule
) -> dict[str, Lesion]:
    """Lesions in images that are read where they came out, and then moved back."""
    read = [None if m is None else p.undo(m) for m in marks(run, with_lesions(sample, outputs))]
    back = [o if isinstance(o, str) else p.undo(o) for o in outputs]
    return followed(run, sample, back, how, read)


def _in_any(by_kind: Sequence[Sequence[Loss]]) -> list[Loss]:
    """Each lesion once: lost, by model or by reader, under any of the perturbations."""
    merged: dict[str, Loss] = {}
    for loss in (x for group in by_kind for x in group):
        held = merged.get(loss.lesion.lesion_id, loss)
        merged[loss.lesion.lesion_id] = Loss(loss.lesion, loss.lost or held.lost, loss.reader or held.reader)
    return list(merged.values())


def _loss_rate(losses: Sequence[Loss], stratum: str | None, void: str | None) -> Estimate:
    people = [x.lesion.patient for x in losses]
    return rate(
        identifier(CODE, "lost_under_perturbation", stratum),
        "Lesions that are kept without and removed with a perturbation",
        [x.lost for x in losses],
        people,
        unit_of_analysis="lesion",
        stratum=stratum,
        noise=Noise([x.reader for x in losses], people),
        void=void,
        units=[x.lesion.lesion_id for x in losses],
    )


def _reader_rate(losses: Sequence[Loss], stratum: str | None, void: str | None) -> Estimate:
    return rate(
        identifier(CODE, "detector_lost_under_perturbation", stratum),
        "The same lesions, not found by the detector in the perturbed real reference",
        [x.reader for x in losses],
        [x.lesion.patient for x in losses],
        unit_of_analysis="lesion",
        better="none",
        stratum=stratum,
        void=void,
        units=[x.lesion.lesion_id for x in losses],
    )


def _rows(run: TranslationRun, sample: Sample, changes: Mapping[str, list[Change]], gain_max: float) -> list[Row]:
    at = {item.case.case_id: k for k, item in enumerate(sample.items)}

    def row(item: Item) -> Row:
        k = at.get(item.case.case_id)
        if k is None:
            return {**item.row, "status": "not drawn"}
        mine = {name: column[k] for name, column in changes.items()}
        values: dict[str, Any] = {
            f"gain_{name.replace(' ', '_')}": None if c.body is None else round(c.body, 4) for name, c in mine.items()
        }
        return {**item.row, **values, "status": _status(list(mine.values()), gain_max)}

    return [row(item) for item in run.items]


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
