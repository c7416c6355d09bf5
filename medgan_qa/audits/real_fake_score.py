"""DIS-006: whether the score is one of disease at all, or of how real an image looks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits._scores import area_estimate, area_of
from medgan_qa.audits.catalogue import Findings
from medgan_qa.audits.classification import ClassificationRun
from medgan_qa.audits.exhibits import forest
from medgan_qa.audits.numbers import identifier, plain, resampled
from medgan_qa.criteria import Estimate
from medgan_qa.metrics.image_quality import brightness, noise_level, sharpness, within_class_correlation
from medgan_qa.record import Exhibit
from medgan_qa.stats import draw_halves
from medgan_qa.stats.roc import RocArea, roc_area

CODE = "DIS-006"
DECLARED = {
    "disease": "The card declares that the logit was trained to tell disease.",
    "real_fake": "The card declares that the logit was trained to tell real images from generated ones, not disease.",
    None: "The card does not declare what the logit was trained to tell (reads = disease or real_fake).",
}
QUALITIES = ("noise", "sharpness", "brightness")
POINTS = 400
"""Most cases in the scatter plot."""

Vector = NDArray[np.float64]


def real_fake_score(run: ClassificationRun, *, resamples: int = 200) -> Findings:
    """A score of realism in place of one of disease.

    Question. Is the score one of disease at all, or does it say how real an image looks?

    What it measures. The area under the ROC curve for disease, with its interval: one half means that the score knows
    nothing of disease. Its association with how the image looks is the correlation of ranks, within either class, of
    the score with noise, sharpness and brightness: what of the score goes with the acquisition and not with the
    disease. Where the test cases hold acquired and synthetic images both (column synthetic), the area for telling the
    one from the other is measured as well: far from one half, realism is what the score reads. What the card declares
    (reads) is printed beside it.

    Why it matters. The discriminator of a generative model is trained to tell real images from generated ones. Its
    logit has the form of a probability, and nothing of disease need be in it. Taken for one, it calls the noisy images
    and passes the clean ones.

    Known limits. An area above one half does not make it a score of disease: what goes with disease in the data may be
    all it reads, which is DIS-005. A correlation with sharpness or brightness may come from the disease where this
    changes them within a class. A score can read realism by features that none of the three measures carries.

    Method and source. Area as DIS-001. Correlation of ranks within classes (Spearman 1904, stratified), interval from
    half samples of the patients (Shao and Wu 1989). Noise from the finest diagonal detail (Donoho and Johnstone 1994),
    sharpness as the root mean square gradient over the body in units of its spread.
    """
    findings = Findings()
    findings.missing = run.objection
    findings.excluded = dict(run.unlabelled)
    if findings.missing:
        return findings
    looks = {
        "noise": np.array([noise_level(item.grey) for item in run.items]),
        "sharpness": np.array([sharpness(item.grey, item.body) for item in run.items]),
        "brightness": np.array([brightness(item.grey, item.body) for item in run.items]),
    }
    area = area_of(run, CODE, "disease_auc", "Area under the ROC curve for disease", run.logits)
    correlations = [_correlation(run, name, looks[name], max(2, resamples // 2 * 2)) for name in QUALITIES]
    findings.estimates = [area, *correlations, _synthetic(run)]
    findings.rows = [
        {
            **item.row,
            "synthetic": item.case.synthetic,
            "logit": round(item.logit, 5),
            **{name: round(float(looks[name][k]), 5) for name in QUALITIES},
        }
        for k, item in enumerate(run.items)
    ]
    findings.notes = [DECLARED[run.subject.card.reads], *_said(area)]
    findings.exhibits.append(
        forest(
            f"{CODE}-looks",
            "Correlation of the score with how the image looks, within classes",
            "Zero is expected of a score of disease. Ends are one-sided 95 % bounds from half samples of the patients.",
            correlations,
            x=(-1.0, 1.0),
        )
    )
    findings.exhibits.append(_scatter(run, correlations, looks))
    return findings


def _said(area: Estimate) -> list[str]:
    interval = area.measurement.interval
    if interval is None or interval.low is None or interval.high is None or not interval.low <= 0.5 <= interval.high:
        return []
    return ["The interval of the area holds one half: nothing shows that the score knows of the disease."]


def _correlation(run: ClassificationRun, name: str, values: Vector, resamples: int) -> Estimate:
    measurement_id = identifier(CODE, "quality_correlation", name)
    label = f"Correlation of the score with {name}, within classes"
    value = within_class_correlation(run.logits, values, run.positive)
    if value is None or len(set(run.patients)) < 2:
        reason = "The score or the measure is the same for every case."
        return plain(
            measurement_id,
            label,
            None,
            n=len(values),
            unit="1",
            unit_of_analysis="image",
            better="none",
            stratum=name,
            reason=reason,
        )
    halves = draw_halves(run.patients, resamples, rng.child(run.seed, CODE, name))
    found = [within_class_correlation(run.logits[h], values[h], run.positive[h]) for h in halves]
    replicates = np.array([np.nan if r is None else r for r in found])
    return resampled(
        measurement_id,
        label,
        value,
        replicates,
        clusters=len(set(run.patients)),
        n=len(values),
        unit="1",
        unit_of_analysis="image",
        better="none",
        stratum=name,
    )


def _synthetic(run: ClassificationRun) -> Estimate:
    """How well the score tells acquired from synthetic images."""
    acquired = np.array([not item.case.synthetic for item in run.items])
    label = "Area under the ROC curve for acquired against synthetic images"
    if acquired.all() or not acquired.any():
        kind = "acquired" if acquired.all() else "synthetic"
        return plain(
            f"{CODE}.acquired_auc",
            label,
            None,
            n=len(acquired),
            unit="1",
            unit_of_analysis="image",
            better="none",
            reason=f"All test images are {kind} (column synthetic).",
        )

    def at(alpha: float) -> RocArea:
        return roc_area(run.logits, acquired, run.patients, alpha=alpha)

    return area_estimate(f"{CODE}.acquired_auc", label, at, better="none")


def _scatter(run: ClassificationRun, correlations: list[Estimate], looks: dict[str, Vector]) -> Exhibit:
    """The score over the look that it goes with most."""
    strength = {e.measurement.stratum: abs(e.measurement.value or 0.0) for e in correlations}
    name = max(QUALITIES, key=lambda q: strength[q])
    chosen = sorted(rng.child(run.seed, "exhibit", CODE).permutation(len(run.items))[:POINTS])
    assert run.classes is not None
    points = [
        {
            "x": round(float(looks[name][k]), 5),
            "y": round(run.items[k].logit, 4),
            "group": run.classes[int(run.items[k].positive)],
            "case_id": run.items[k].case.case_id,
        }
        for k in chosen
    ]
    return Exhibit(
        id=f"{CODE}-scatter",
        kind="scatter",
        title=f"Score over {name}",
        caption=f"Of noise, sharpness and brightness, {name} goes with the score most. One point a case.",
        data={"x_label": name, "y_label": "logit", "points": points},
    )
