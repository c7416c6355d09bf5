"""DIS-003: whether acting on the classifier is worth more than acting without it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from medgan_qa.audits.catalogue import Findings
from medgan_qa.audits.classification import ClassificationRun
from medgan_qa.audits.numbers import ALPHA, identifier
from medgan_qa.criteria import Estimate
from medgan_qa.errors import ConfigurationError
from medgan_qa.record import Exhibit, Interval, Measurement
from medgan_qa.stats.net_benefit import EXACT_SHARES, decision_curve, net_benefit_gain

CODE = "DIS-003"
POINTS = 99
"""Threshold probabilities of the curve that is shown, a percent apart."""


def net_benefit(run: ClassificationRun, *, thresholds: str = "0.2, 0.3, 0.4, 0.5") -> Findings:
    """Net benefit of acting on the score.

    Question. Would patients be better off if the discriminator decided than if everybody, or nobody, were treated?

    What it measures. Who acts from a probability t on takes (1 - t) / t needless actions for one that was needed. At
    that price the net benefit is the share of true positives less the share of false positives times t / (1 - t). The
    gain is the model's net benefit less that of the better of acting on everybody and on nobody, at every threshold
    probability of the parameter thresholds, a list; the least gain is the smallest over the list. It reads the score
    as a probability: a miscalibrated one acts at another price than it was told.

    Why it matters. An area under the curve of 0.9 may be of no use where disease is rare or a miss is dear, and one of
    0.7 of much. The gain says which, in true positives a patient.

    Known limits. It holds at the prevalence of the data, which in a test set is often not that of the clinic. The
    thresholds are what somebody would act from; which ones those are is a clinical question that the criteria file
    answers before the run. The bounds are made of four shares and wider than they need be.

    Method and source. Decision curve analysis: Vickers and Elkin 2006; Vickers et al. 2019. Exact clustered bounds on
    the shares of true and false positives and negatives, Bonferroni: resampling covers too little where misses are few
    and where both strategies are worth the same.
    """
    findings = Findings()
    asked = _parsed(thresholds)
    findings.missing = run.objection
    findings.excluded = dict(run.unlabelled)
    if findings.missing:
        return findings
    probabilities = special.expit(run.logits)
    gains = decision_curve(probabilities, run.positive, asked).gain
    findings.estimates = [
        _estimate(run, asked, float(gains.min()), None),
        *(_estimate(run, (t,), float(gain), f"{t:g}") for t, gain in zip(asked, gains, strict=True)),
    ]
    findings.rows = [
        {
            **item.row,
            "probability": round(item.probability, 5),
            "acted_on_at": sum(item.probability >= t for t in asked),
        }
        for item in run.items
    ]
    share = float(run.positive.mean())
    findings.notes = [
        f"{share:.0%} of the cases have the disease; no strategy can be worth more than {share:.3f} a case."
    ]
    findings.exhibits.append(_curve(run))
    return findings


def _parsed(text: str) -> tuple[float, ...]:
    try:
        found = tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        found = ()
    if not found or not all(0 < t < 1 for t in found):
        raise ConfigurationError(
            f"The thresholds of {CODE} cannot be read.",
            expected='probabilities between 0 and 1 with commas, such as "0.1, 0.2, 0.5"',
            found=repr(text),
            where=f'[parameters."{CODE}"] of the criteria file',
            todo="List the probabilities from which on somebody would act.",
        )
    return found


def _estimate(run: ClassificationRun, asked: Sequence[float], value: float, stratum: str | None) -> Estimate:
    probabilities = special.expit(run.logits)

    def at(alpha: float) -> Interval:
        # The least of several gains: a lower end needs no correction, an upper end one for how many there are.
        lows = [net_benefit_gain(probabilities, run.positive, run.patients, t, alpha=alpha)[0] for t in asked]
        share = alpha / len(asked)
        highs = [net_benefit_gain(probabilities, run.positive, run.patients, t, alpha=share)[1] for t in asked]
        return Interval(low=min(lows), high=min(highs), level=1 - alpha, method=EXACT_SHARES, sided=1)

    name = "gain" if stratum else "least_gain"
    label = (
        f"Net benefit over the better of treating all and none, at a probability of {stratum}"
        if stratum
        else "Smallest net benefit over the better of treating all and none, over the declared probabilities"
    )
    measurement = Measurement(
        id=identifier(CODE, name, stratum),
        label=label,
        value=value,
        unit="1",
        interval=at(ALPHA),
        n=len(run.items),
        unit_of_analysis="image",
        better="higher",
        stratum=stratum,
        clusters=len(set(run.patients)),
    )
    return Estimate(measurement, at)


def _curve(run: ClassificationRun) -> Exhibit:
    x = np.arange(1, POINTS + 1) / (POINTS + 1)
    named = [("model", run.logits), *([] if run.compared is None else [("comparator", run.compared)])]
    curves = {name: decision_curve(special.expit(logits), run.positive, x.tolist()) for name, logits in named}
    share = float(run.positive.mean())
    # Treating all is worth ever less; below this it would only push the others to the top of the drawing.
    least = -0.25 * share
    series = [
        {"name": name, "x": x.tolist(), "y": np.maximum(curve.model, least).round(4).tolist()}
        for name, curve in curves.items()
    ]
    series.append({"name": "all", "x": x.tolist(), "y": np.maximum(curves["model"].treat_all, least).round(4).tolist()})
    series.append({"name": "none", "x": [0.0, 1.0], "y": [0.0, 0.0]})
    return Exhibit(
        id=f"{CODE}-curve",
        kind="curves",
        title="Decision curve",
        caption="Net benefit in true positives a case, over the probability from which on somebody would act.",
        data={
            "x_label": "threshold probability",
            "y_label": "net benefit",
            "series": series,
            "x_range": [0.0, 1.0],
            "y_range": [round(least, 4), round(1.05 * share, 4)],
        },
    )
