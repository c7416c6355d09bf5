"""COV-003: whether the samples differ from one another as patients do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits._diversity import CODE, ms_ssim, vendi
from medgan_qa.audits._twins import Calibrated, calibrated, in_pairs
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import Pair, pairs, sheet
from medgan_qa.audits.numbers import ALPHA, count, identifier, rate
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.criteria import Declared, Estimate
from medgan_qa.metrics import birthday_diversity
from medgan_qa.record import Exhibit, Interval, Measurement
from medgan_qa.stats import required_n

FEWEST = 40
"""Test patients, and samples, below which the distances of real images set no threshold."""
MOST_ROWS = 200
Index = NDArray[np.intp]


def collapse(
    run: SynthesisRun,
    *,
    closeness: float = 0.5,
    quantile: float = 0.05,
    ssim_pairs: int = 1000,
    most: int = 1000,
    worst: int = 8,
    random: int = 4,
) -> Findings:
    """Collapse of the samples onto one another.

    Question. Do the samples differ from one another as patients do, or is the same image made again and again?

    What it measures. The near-identical rate is the share of samples that have an all but identical twin among the
    other samples. Distance is taken in the primary feature space and in the pixels (averaged to 16 x 16) together: each
    is divided by the median distance of a real test image to the nearest one of another patient, and the two are
    combined as a root mean square, so that a twin has to be near in both. Near-identical is nearer than half (the
    parameter closeness) of the distance that all but one in twenty (quantile) real images keep from the nearest other
    patient. The birthday test turns the number of such pairs into the number of different images that the generator can
    make. Vendi scores of as many samples and real images (one a patient) and mean MS-SSIM of random pairs tell a spread
    that is too small without twins.

    Why it matters. A generator that makes a few images over and over can be perfectly realistic. Its samples are worth
    as many patients as it makes different images, not as many as were drawn.

    Known limits. Images that differ by noise or contrast alone are no twins in features that respond to these; the rate
    in the pixels alone stands beside for that. The rate rises with the number of samples. A generator that makes ten
    thousand different images has few twins among a thousand samples; the lower end of the support says how many can be
    told. Vendi and MS-SSIM take noise for diversity and are read beside FID-001. MS-SSIM saturates on aligned anatomy,
    where any two patients are alike: only its difference to real pairs means something.

    Method and source. Arora, Risteski and Zhang 2018 (birthday test); Friedman and Dieng 2023 (Vendi score); Odena,
    Olah and Shlens 2017 and Wang, Simoncelli and Bovik 2003 (MS-SSIM). A rare twin comes with its twin, so that events
    come in pairs: the rate's interval is Clopper and Pearson 1934 with two samples as one unit, which is exact for few
    twins and wide for many. Other intervals from half samples by patient (Shao and Wu 1989).
    """
    findings = Findings()
    people, n = len(set(run.reference.patients)), len(run.generated)
    if min(people, n) < FEWEST:
        findings.missing = f"{people} test patients and {n} samples; {FEWEST} of each are needed to tell twins."
        return findings
    both, pixels = calibrated(run, closeness, quantile)
    twins = int(both.has_twin.sum())
    findings.estimates = [*_rates(run, both, None), *_rates(run, pixels, "pixels alone"), *_support(run, both)]
    for name in run.extractors:
        findings.estimates += vendi(run, name, most)
    findings.estimates += ms_ssim(run, ssim_pairs)
    findings.notes = _said(run, both)
    order = np.argsort(both.samples.distance, kind="stable")
    findings.rows = [_row(run, both, i) for i in order[:twins][:MOST_ROWS]]
    findings.tables[f"exhibits/{CODE}-samples.csv"] = [_row(run, both, i) for i in order]
    findings.exhibits.append(_distances(both))
    _show(run, findings, both, order, worst, random)
    return findings


def _rates(run: SynthesisRun, found: Calibrated, space: str | None) -> list[Estimate]:
    """Share of samples with a twin, and the same of real images of different patients."""
    sides = (
        (space, run.generated, found.samples, "sample"),
        (f"{space}, real images" if space else "real images", run.reference, found.real, "image"),
    )
    estimates = []
    for stratum, pictures, twins, unit in sides:
        flags = twins.distance <= found.threshold
        estimate = rate(
            identifier(CODE, "near_identical_rate", stratum),
            f"{unit.capitalize()}s that have an all but identical twin",
            flags.tolist(),
            in_pairs(flags, pictures.patients),
            unit_of_analysis=unit,
            stratum=stratum,
        )
        estimates.append(estimate._replace(shortfall=_shortfall(int(flags.sum()), len(flags))))
    return estimates


def _shortfall(k: int, n: int) -> Callable[[Declared, float], str | None]:
    def missing(declared: Declared, alpha: float) -> str | None:
        limit = declared.limit.get("max")
        if limit is None or not 0 < limit < 1 or k / n >= limit:
            return None
        needed = 2 * required_n(limit, alpha, -(-k // 2))
        return f"{k} of {n} have a twin; {needed} are needed for this claim with {k}" if needed > n else None

    return missing


def _support(run: SynthesisRun, found: Calibrated) -> list[Estimate]:
    n = len(run.generated)

    def at(alpha: float) -> Interval:
        b = birthday_diversity(found.samples.joint, found.threshold, alpha=alpha)
        method = "birthday problem, all different" if b.support is None else "Garwood on the number of pairs"
        return Interval(low=b.support_low, high=b.support_high, level=1 - alpha, method=method, sided=1)

    b = birthday_diversity(found.samples.joint, found.threshold, alpha=ALPHA)
    least = f"{b.support_low:,.0f} different images or more ({1 - ALPHA:.0%} confidence)"
    none = f"No two of {n} samples are near-identical, which speaks for {least}."
    measurement = Measurement(
        id=f"{CODE}.support",
        label="Different images that the generator can make (birthday test)",
        value=b.support,
        unit="count",
        interval=at(ALPHA),
        n=n,
        unit_of_analysis="sample",
        better="higher",
        clusters=n,
        reason=none if b.support is None else None,
    )
    pairs_found = count(
        f"{CODE}.near_identical_pairs",
        "Near-identical pairs of samples",
        b.duplicates,
        n=n,
        unit_of_analysis="sample",
        better="lower",
    )
    return [Estimate(measurement, at), pairs_found]


def _said(run: SynthesisRun, found: Calibrated) -> list[str]:
    closest = float(found.samples.distance.min())
    said = [
        f"{found.has_twin.sum()} of {len(run.generated)} samples have a twin at most {found.threshold:.3g} away (1 is "
        "the distance of real images to the nearest other patient); the nearest two samples are "
        f"{closest:.3g} apart, the nearest two patients {found.real.distance.min():.3g}."
    ]
    if found.threshold == 0:
        said.append("Real images of different patients are identical to each other, so only exact twins are counted.")
    if len(run.generated) != len(run.reference):
        said.append("Samples and real images differ in number; the rate of twins rises with it.")
    return said


def _row(run: SynthesisRun, found: Calibrated, i: int) -> Row:
    twins = found.samples
    return {
        "case_id": run.generated.names[i],
        "patient_id": run.generated.patients[i],
        "nearest_sample": run.generated.names[twins.nearest[i]],
        "distance": round(float(twins.distance[i]), 4),
        "near_identical": bool(twins.distance[i] <= found.threshold),
    }


def _distances(found: Calibrated) -> Exhibit:
    shares = np.linspace(0, 1, 101)
    series = [
        {"name": name, "x": np.quantile(twins.distance, shares).round(4).tolist(), "y": shares.round(2).tolist()}
        for name, twins in (("samples", found.samples), ("real images", found.real))
    ]
    return Exhibit(
        id=f"{CODE}-distances",
        kind="curves",
        title="Distance to the nearest other sample or patient",
        caption=f"Share of images whose nearest other is at most that far; twins are at most {found.threshold:.3g}.",
        data={
            "x_label": "distance (1: median of real images)",
            "y_label": "share of images",
            "series": series,
            "lines": [{"x": round(found.threshold, 4), "label": "near-identical"}],
            "y_range": [0.0, 1.0],
        },
    )


def _show(run: SynthesisRun, findings: Findings, found: Calibrated, order: Index, worst: int, random: int) -> None:
    """The nearest pairs, each sample once, and random samples beside whatever is nearest to them."""
    twins, images = found.samples, run.generated
    picks: list[tuple[int, str]] = []
    shown: set[int] = set()
    for i in order.tolist():
        if len(picks) < worst and not {i, int(twins.nearest[i])} & shown:
            picks.append((i, "worst"))
            shown |= {i, int(twins.nearest[i])}
    generator = rng.child(run.seed, "exhibit", CODE)
    drawn = [i for i in generator.permutation(len(images)).tolist() if i not in shown]
    picks += [(i, "random") for i in drawn[:random]]
    pairs(
        findings,
        f"{CODE}-pairs",
        "Samples and the samples nearest to them",
        f"The pairs of samples nearest to each other, each sample once, and {min(random, len(drawn))} samples drawn at "
        "random. Distance 1 is that of real images to the nearest other patient; twins are up to "
        f"{found.threshold:.3g} apart.",
        [
            Pair(
                images.grey[i],
                images.grey[twins.nearest[i]],
                images.names[i],
                images.names[twins.nearest[i]],
                f"distance {twins.distance[i]:.2f}{', twins' if twins.distance[i] <= found.threshold else ''}",
                rule,
            )
            for i, rule in picks
        ],
        ("sample", "nearest other sample"),
    )
    real = generator.permutation(len(run.reference))[:20]
    groups = {"samples": images.grey[np.sort(drawn[:20])], "real test images": run.reference.grey[np.sort(real)]}
    sheet(findings, f"{CODE}-samples", "Samples and real images at random", "Drawn by the run's seed.", groups)
