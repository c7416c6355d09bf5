"""ROB-004: calls that change although the patient did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits._scores import called
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.classification import NO_THRESHOLD, ClassificationRun, Scored, Threshold, said
from medgan_qa.audits.exhibits import Pair, forest, pairs
from medgan_qa.audits.numbers import identifier, median, rate
from medgan_qa.criteria import Estimate
from medgan_qa.errors import ConfigurationError
from medgan_qa.metrics.perturbations import biased, gamma_changed, gaussian_noise, rician_noise, shifted

CODE = "ROB-004"

Float = NDArray[np.float32]
Vector = NDArray[np.float64]

NOISES = {"rician": rician_noise, "gaussian": gaussian_noise}


class Perturbation(NamedTuple):
    """A change that acquisition or storage makes to an image."""

    name: str
    apply: Callable[[Float, np.random.Generator], Float]
    """(C, H, W) and the case's own generator to the same shape."""


def perturbations(
    noise: str, noise_sigma: float, bias: float, shift_px: int, gamma: float, bits: int
) -> list[Perturbation]:
    """The perturbations that the audit's parameters ask for; one with a size of 0 is left out.

    Raises:
        ConfigurationError: an unknown kind of noise, a size below 0, or nothing but sizes of 0.
    """
    sizes = {"noise_sigma": noise_sigma, "bias": bias, "shift_px": shift_px, "gamma": gamma, "bits": bits}
    if noise not in NOISES or min(sizes.values()) < 0 or not any(sizes.values()) or bits > 24:
        raise ConfigurationError(
            f"The perturbations of {CODE} cannot be made.",
            expected=f"noise one of {', '.join(NOISES)}; sizes of 0 or more, one of them above 0; bits up to 24",
            found=", ".join(f"{name} = {value}" for name, value in {"noise": noise, **sizes}.items()),
            where=f'[parameters."{CODE}"] of the criteria file',
            todo=f"`medgan-qa explain {CODE}` lists the parameters.",
        )
    made = [
        Perturbation("noise", lambda x, g: NOISES[noise](x, noise_sigma, g)),
        Perturbation("bias field", lambda x, g: biased(x, bias, g)),
        Perturbation("shift", lambda x, g: shifted(x, int(g.choice((-1, 1))) * shift_px, shift_px)),
        Perturbation("gamma", lambda x, g: gamma_changed(x, float(1 + gamma * g.choice((-1, 1))))),
        Perturbation("rounding", lambda x, g: _rounded(x, bits)),
    ]
    return [p for p, size in zip(made, sizes.values(), strict=True) if size]


def _rounded(image: Float, bits: int) -> Float:
    """Unit range in so many bits."""
    steps = np.float32(2**bits - 1)
    rounded: Float = (np.rint(image * steps) / steps).astype(np.float32)
    return rounded


def unstable_call(
    run: ClassificationRun,
    *,
    threshold: float = 0.0,
    cases: int = 0,
    noise: str = "rician",
    noise_sigma: float = 0.015,
    bias: float = 0.08,
    shift_px: int = 1,
    gamma: float = 0.05,
    bits: int = 8,
    shown: int = 8,
) -> Findings:
    """Calls that change although the patient did not.

    Question. Does the discriminator call the same patient the same way when the image is a little noisier, moved by a
    pixel or stored in eight bits?

    What it measures. Cases (all, or as many as the parameter cases, drawn by patient) are scored again under
    acquisition noise (Rician or Gaussian, standard deviation noise_sigma of the value range), a smooth bias field (up
    to +-bias), a shift of shift_px pixels along both axes, a gamma of 1 +- gamma, and rounding to bits bits. The flip
    rate is the share of cases whose call at the declared threshold changes under at least one of them, and under each
    alone, with exact bounds clustered by patient. The change of the logit is its median absolute difference.

    Why it matters. A call that another acquisition of the same patient would not repeat is no finding. Discriminators
    are trained on differences from pixel to pixel that no eye sees, and may hang their answer on them.

    Known limits. The perturbations are drawn at random, not searched for: an adversary finds worse. A case at the
    threshold flips under any change, so the rate grows with the share of cases near it; another threshold has another
    rate. Every perturbation is drawn once a case. They are those of MR; sizes for another modality are parameters.

    Method and source. Perturbations as ROB-002: Gudbjartsson and Patz 1995 (Rician noise); Sled et al. 1998 (smooth
    multiplicative field); Azulay and Weiss 2019 (shift by a pixel); Hendrycks and Dietterich 2019 (flips of calls).
    Bounds as PAT-001.
    """
    findings = Findings()
    kinds = perturbations(noise, noise_sigma, bias, shift_px, gamma, bits)
    point = run.threshold(CODE, threshold)
    if not run.items:
        findings.missing = run.objection or "No test case has a class."
        return findings
    items = _sampled(run, cases)
    logits = {p.name: _again(run, items, p) for p in kinds}
    clean = np.array([item.logit for item in items])
    findings.estimates = [*_flips(items, clean, logits, point), *_changes(items, clean, logits)]
    held = {item.case.case_id for item in items}
    findings.excluded = {
        **run.unlabelled,
        **{i.case.case_id: "not drawn" for i in run.items if i.case.case_id not in held},
    }
    findings.rows = [_row(item, k, logits, point) for k, item in enumerate(items)]
    findings.notes = [said(point)]
    if point is not None:
        findings.exhibits.append(
            forest(
                f"{CODE}-flips",
                "Calls that change, by perturbation",
                "Share of the cases whose call changes. Ends are one-sided 95 % bounds, clustered by patient.",
                findings.estimates[: len(kinds) + 1],
                x=(0.0, 1.0),
                label=lambda m: m.stratum or "any of them",
            )
        )
        _show(findings, run, items, logits, kinds, point, shown)
    return findings


def _sampled(run: ClassificationRun, cases: int) -> list[Scored]:
    """All cases of patients drawn by the run's seed, until there are `cases`; every case if that is 0."""
    names = sorted(set(run.patients))
    held = Counter(run.patients)
    drawn: set[str] = set()
    for k in rng.child(run.seed, "cases", CODE).permutation(len(names)):
        if not cases or sum(held[name] for name in drawn) < cases:
            drawn.add(names[k])
    return [item for item in run.items if item.case.patient_id in drawn]


def _perturbed(run: ClassificationRun, item: Scored, p: Perturbation) -> Float:
    return p.apply(item.image, rng.child(run.seed, CODE, p.name, item.case.case_id))


def _again(run: ClassificationRun, items: Sequence[Scored], p: Perturbation) -> Vector:
    images = [_perturbed(run, item, p) for item in items]
    return run.score(images, [item.case.case_id for item in items], label=f"Scoring under {p.name}")


def _flipped(item: Scored, logit: float, point: Threshold | None) -> bool:
    return called(item.logit, point) != called(logit, point)


def _flips(
    items: Sequence[Scored], clean: Vector, logits: dict[str, Vector], point: Threshold | None
) -> list[Estimate]:
    by_kind = {
        name: [_flipped(item, float(x), point) for item, x in zip(items, values, strict=True)]
        for name, values in logits.items()
    }
    any_of = [any(column) for column in zip(*by_kind.values(), strict=True)]
    strata: list[tuple[str | None, list[bool]]] = [(None, any_of), *by_kind.items()]
    return [
        rate(
            identifier(CODE, "flip_rate", name),
            f"Calls that change under {name}" if name else "Calls that change under a perturbation",
            events,
            [item.case.patient_id for item in items],
            unit_of_analysis="image",
            stratum=name,
            void=NO_THRESHOLD if point is None else None,
            units=[item.case.case_id for item in items],
        )
        for name, events in strata
    ]


def _changes(items: Sequence[Scored], clean: Vector, logits: dict[str, Vector]) -> list[Estimate]:
    return [
        median(
            identifier(CODE, "logit_change", name),
            f"Absolute change of the logit under {name}, median patient",
            np.abs(values - clean).tolist(),
            [item.case.patient_id for item in items],
            unit="1",
            unit_of_analysis="image",
            better="lower",
            stratum=name,
            units=[item.case.case_id for item in items],
        )
        for name, values in logits.items()
    ]


def _row(item: Scored, k: int, logits: dict[str, Vector], point: Threshold | None) -> Row:
    flipped = [name for name, values in logits.items() if _flipped(item, float(values[k]), point)]
    status = "no threshold" if point is None else "call changes" if flipped else "call stays"
    changed = {f"logit_{name.replace(' ', '_')}": round(float(values[k]), 5) for name, values in logits.items()}
    return {**item.row, "logit": round(item.logit, 5), **changed, "flipped_by": "; ".join(flipped), "status": status}


def _show(
    findings: Findings,
    run: ClassificationRun,
    items: Sequence[Scored],
    logits: dict[str, Vector],
    kinds: Sequence[Perturbation],
    point: Threshold,
    shown: int,
) -> None:
    """The largest changes of the logit that change a call, one a case."""
    found: dict[str, tuple[float, Scored, Perturbation, float]] = {}
    for p in kinds:
        for item, logit in zip(items, logits[p.name].tolist(), strict=True):
            change = abs(logit - item.logit)
            if _flipped(item, logit, point) and change > found.get(item.case.case_id, (0.0,))[0]:
                found[item.case.case_id] = (change, item, p, logit)
    worst = sorted(found.values(), key=lambda f: (-f[0], f[1].case.case_id))[:shown]
    pairs(
        findings,
        f"{CODE}-cases",
        "Calls that change, largest changes of the logit",
        f"The {len(worst)} cases of {len(found)} whose call changes with the largest change of the logit.",
        [_pair(run, item, p, logit) for _, item, p, logit in worst],
        ("as it is", "perturbed"),
    )


def _pair(run: ClassificationRun, item: Scored, p: Perturbation, logit: float) -> Pair:
    after = _perturbed(run, item, p).mean(axis=0, dtype=np.float32)
    label = f"{p.name}: logit {item.logit:.2f} to {logit:.2f}"
    return Pair(item.grey, after, item.case.case_id, item.case.patient_id, label, "worst")
