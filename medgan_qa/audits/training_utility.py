"""UTL-001: what samples are worth to a model that is trained on them and tested on real patients."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits._labelled_pictures import Counts, beside_nearest, chosen
from medgan_qa.audits._learners import BOTH, REAL, REPEATED, SYNTHETIC, Learners, Reached, learners
from medgan_qa.audits.augmentation import AugmentationRun, Labelled, Sides
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import forest, pairs
from medgan_qa.audits.numbers import ALPHA, identifier, plain
from medgan_qa.criteria import Declared, Estimate
from medgan_qa.record import Interval, Measurement
from medgan_qa.stats import FEWEST_CLUSTERS
from medgan_qa.stats.repeated_fits import repeated_fits_interval
from medgan_qa.stats.roc import disjoint_pairs

CODE = "UTL-001"
ONE_CLASS = "The samples are not of every class, so nothing can be trained on them alone."

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


def training_utility(
    run: AugmentationRun, *, fits: int = 10, most_images: int = 2000, worst: int = 8, random: int = 4
) -> Findings:
    """Utility for training.

    Question. Is a model that learns from the samples any better on real patients, or at least no worse?

    What it measures. A small fixed learner is trained on real training images, on samples, on both, and on real images
    repeated until they are as many as both, so that more images are not mistaken for better ones. Each is tested on the
    real test images. The area under the curve (over all pairs of classes where there are more than two) is given for
    each; the gain is that of both less that of the repeated real images, the shortfall that of samples alone less that
    of real images. In balanced accuracy: GAN-train (trained on samples, tested on real test images), GAN-test (trained
    on real images, tested on samples) and GAN-base (trained and tested on real images) beside them. Everything is
    repeated (the parameter fits) on four in five of the images at hand, drawn anew, and intervals hold the variation
    over fits and over test patients.

    Why it matters. Samples that look real may teach nothing, or something wrong: a generator that has lost what tells
    the classes apart gives images that pass every measure of realism and lower the accuracy of whatever is trained on
    them. A low GAN-train with a high GAN-test is the sign of samples that are right and all alike; a low GAN-test that
    of samples that do not show what their label says.

    Known limits. The learner is no deep network: its areas are not those of the model that will be trained, and a gain
    for the one is no proof of a gain for the other. Where the learner is perfect without samples, no gain can be seen,
    only harm. Intervals are for these training images and these samples; others would give other numbers, and a note
    says how much single fits differ. Each fit sees four in five of the training patients and of the samples, and at
    most most_images of either. A copy of a training image is as useful as the image; that is MEM-001.

    Method and source. Shmelkov K, Schmid C, Alahari K, How good is my GAN?, ECCV 2018 (GAN-train, GAN-test); area over
    pairs of classes: Hand and Till 2001. Learner: multinomial logistic regression with a fixed penalty on a fixed bank
    of Gaussian derivatives, in units of the real training images for every set, so that it is fitted in well under a
    second and odd images do not change what the penalty lets through of the others. Intervals: half samples of the test
    patients (Shao and Wu 1989) and the spread over fits, their variances added with Satterthwaite's degrees of freedom.
    """
    findings = Findings()
    sides = run.sides
    if isinstance(sides, str):
        findings.missing = sides
        return findings
    findings.missing = too_few(sides, fits)
    if findings.missing:
        return findings
    found = learners(run, sides, fits, most_images)
    halves = run.halves["reference"][:, sides.test.index], run.halves["generated"][:, sides.synthetic.index]
    findings.estimates = [*_areas(sides, found, halves[0]), *_accuracies(sides, found, halves)]
    findings.rows = _rows(sides, found)
    findings.excluded = run.unlabelled()
    findings.notes = [*_said(sides, fits, most_images), _spread(found, sides, halves[0])]
    findings.exhibits.append(
        forest(
            f"{CODE}-areas",
            "Area under the curve by what the learner was trained on",
            "On the same real test images. Ends are one-sided 95 % bounds over fits and test patients.",
            [e for e in findings.estimates if e.measurement.id.startswith(f"{CODE}.auc")],
            x=(0.5, 1.0),
        )
    )
    if SYNTHETIC in found.said:
        _show(findings, run, sides, found, (worst, random))
    return findings


def too_few(sides: Sides, fits: int) -> str | None:
    """What is missing to train a learner and to test it."""
    if fits < 2:
        return f"{fits} fits; the variation over training sets needs at least 2."
    for where, side in (("train", sides.train), ("test", sides.test)):
        for code, name in enumerate(sides.classes):
            people = side.people(code)
            if people < FEWEST_CLUSTERS:
                return (
                    f"{people} patients of the {where} partition have an image labelled {name}; {FEWEST_CLUSTERS} are "
                    "needed."
                )
    held = min((people for code in range(len(sides.classes)) if (people := sides.synthetic.people(code))), default=0)
    return None if held >= FEWEST_CLUSTERS else f"{held} samples of a class; {FEWEST_CLUSTERS} are needed."


def independent_pairs(side: Labelled, classes: int) -> int:
    """Units that can be paired off, one of a class against one of another and nobody twice: the fewest of any pair."""
    units = np.unique(np.array(side.patients), return_inverse=True)[1]
    least = []
    for i in range(classes):
        for j in range(i):
            there = np.isin(side.codes, (i, j))
            least.append(disjoint_pairs(side.codes[there] == i, units[there], int(units.max()) + 1))
    return max(1, min(least))


def _areas(sides: Sides, found: Learners, halves: Bool) -> list[Estimate]:
    test, reached = sides.test, {arm: found.area(arm, sides.test, halves) for arm in found.said}
    label = "Area under the curve on real test images, trained on"
    estimates = [_estimate("auc", f"{label} {arm}", reached[arm], test, sides, "share", stratum=arm) for arm in reached]
    gain = reached[BOTH].less(reached[REPEATED])
    estimates.append(_estimate("gain", "Gain by adding the samples to real images", gain, test, sides, "difference"))
    short = "Area with samples in place of real images, less that with real images"
    if SYNTHETIC not in reached:
        estimates += [_nothing("auc", f"{label} samples", sides, SYNTHETIC), _nothing("shortfall", short, sides)]
        return estimates
    shortfall = reached[SYNTHETIC].less(reached[REAL])
    return [*estimates, _estimate("shortfall", short, shortfall, test, sides, "difference")]


def _accuracies(sides: Sides, found: Learners, halves: tuple[Bool, Bool]) -> list[Estimate]:
    test, synthetic = sides.test, sides.synthetic
    base = found.accuracy(REAL, test, halves[0])
    train = "GAN-train: balanced accuracy on real test images, trained on samples"
    tested = "GAN-test: balanced accuracy on samples, trained on real images"
    estimates = [
        _estimate(
            "gan_base", "Balanced accuracy on real test images, trained on real images", base, test, sides, "share"
        )
    ]
    if SYNTHETIC not in found.said:
        return [*estimates, _nothing("gan_train", train, sides), _nothing("gan_test", tested, sides)]
    of_samples = found.accuracy_on_samples(synthetic, halves[1])
    return [
        _estimate("gan_train", train, found.accuracy(SYNTHETIC, test, halves[0]), test, sides, "share"),
        _estimate("gan_test", tested, of_samples, synthetic, sides, "share"),
        *estimates,
    ]


def _estimate(
    name: str,
    label: str,
    reached: Reached,
    on: Labelled,
    sides: Sides,
    kind: Literal["share", "difference"],
    *,
    stratum: str | None = None,
) -> Estimate:
    clusters, independent = len(set(on.patients)), independent_pairs(on, len(sides.classes))

    def at(alpha: float) -> Interval:
        r = repeated_fits_interval(
            reached.fits,
            reached.halves,
            clusters=clusters,
            independent=independent,
            kind=kind,
            lower=reached.lower,
            alpha=alpha,
        )
        return Interval(low=r.low, high=r.high, level=1 - alpha, method=r.method, sided=1)

    def shortfall(declared: Declared, alpha: float) -> str | None:
        return None if clusters >= FEWEST_CLUSTERS else f"{clusters} independent units are too few for an interval"

    measurement = Measurement(
        id=identifier(CODE, name, stratum),
        label=label,
        value=float(reached.fits.mean()),
        unit="1" if kind == "difference" or name == "auc" else "fraction",
        interval=at(ALPHA),
        n=len(on),
        unit_of_analysis="sample" if on is sides.synthetic else "image",
        better="higher",
        stratum=stratum,
        # Samples that are each their own unit belong to no patient.
        clusters=None if on is sides.synthetic and clusters == len(on) else clusters,
    )
    return Estimate(measurement, at, shortfall)


def _nothing(name: str, label: str, sides: Sides, stratum: str | None = None) -> Estimate:
    return plain(
        identifier(CODE, name, stratum),
        label,
        None,
        n=len(sides.test),
        unit="1",
        unit_of_analysis="image",
        better="higher",
        stratum=stratum,
        reason=ONE_CLASS,
    )


def _own(found: Learners, arm: str, side: Labelled) -> Float:
    """Mean over fits of the log odds of each test image's own class."""
    return np.asarray(found.said[arm].mean(axis=0)[np.arange(len(side)), side.codes])


def _rows(sides: Sides, found: Learners) -> list[Row]:
    test = sides.test
    own = {arm: _own(found, arm, test) for arm in found.said}
    right = {arm: _right(found.said[arm], test) for arm in found.said}
    status = right.get(SYNTHETIC, right[BOTH])
    return [
        {
            "case_id": test.names[k],
            "patient_id": test.patients[k],
            "label": sides.classes[test.codes[k]],
            **{f"log_odds_{arm.replace(' ', '_')}": round(float(own[arm][k]), 3) for arm in own},
            "status": "read right" if status[k] else "read wrong",
        }
        for k in range(len(test))
    ]


def _right(said: Float, side: Labelled) -> Bool:
    """(n,) whether the mean over fits is largest for an image's own class."""
    return np.asarray(said.mean(axis=0).argmax(axis=1) == side.codes)


def _said(sides: Sides, fits: int, most: int) -> list[str]:
    counts = [
        f"{len(side)} {what} ("
        + ", ".join(f"{len(side.of(code))} {name}" for code, name in enumerate(sides.classes))
        + ")"
        for what, side in (
            ("real training images", sides.train),
            ("samples", sides.synthetic),
            ("real test images", sides.test),
        )
    ]
    said = [f"Every learner was trained {fits} times: {counts[0]}, {counts[1]}; tested on {counts[2]}."]
    used = [what for what, side in (("real images", sides.train), ("samples", sides.synthetic)) if len(side) > most]
    if used:
        said.append(f"Of the {' and '.join(used)} {most} were drawn for each fit.")
    return said


def _spread(found: Learners, sides: Sides, halves: Bool) -> str:
    spreads = {arm: float(found.area(arm, sides.test, halves[:1]).fits.std(ddof=1)) for arm in found.said}
    each = ", ".join(f"{spread:.2g} ({arm})" for arm, spread in spreads.items())
    return f"Standard deviation of the area over single fits, by what the learner was trained on: {each}."


def _show(findings: Findings, run: AugmentationRun, sides: Sides, found: Learners, counts: Counts) -> None:
    """Test images that the learner trained on samples reads worst against that of real images, and others."""
    test = sides.test
    loss = _own(found, REAL, test) - _own(found, SYNTHETIC, test)
    wrong = ~_right(found.said[SYNTHETIC], test)
    order = sorted(range(len(test)), key=lambda k: (not wrong[k], -loss[k], test.names[k]))
    picked = chosen(run, CODE, order, counts)

    def label(k: int) -> str:
        return f"{sides.classes[test.codes[k]]}, read {'wrong' if wrong[k] else 'right'}"

    worst = sum(rule == "worst" for _, rule in picked)
    pairs(
        findings,
        f"{CODE}-cases",
        "Real test images as a learner reads them that has seen samples only",
        f"The {worst} that it reads worst (wrong ones first, then the largest loss of log odds against a learner of "
        f"real images), and {len(picked) - worst} drawn at random from the others. Beside each the sample of its "
        "label with the least mean squared difference.",
        beside_nearest(picked, test, sides.synthetic, label, real=True),
        ("nearest sample of the label", "real test image"),
    )
