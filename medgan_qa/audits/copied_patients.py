"""MEM-001: samples that are copies of training images, and the patients in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits._memory import IMAGE, Rule, WholeCopies, flagged_rate, least_share, whole_copies
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import Pair, pairs
from medgan_qa.audits.numbers import count, identifier, plain, rate
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.criteria import Estimate
from medgan_qa.metrics._alignment import ORIENTATIONS, oriented
from medgan_qa.metrics.copies import GAMMA_SLACK
from medgan_qa.record import Exhibit
from medgan_qa.stats.calibration import excess_test

CODE = "MEM-001"
MOST_ROWS = 200
"""Copies listed one a row; the table of all samples has them all."""
EXACT = 1e-4
"""Share of variance left unexplained above which an untransformed copy was changed, by noise or the like."""

Float = NDArray[np.float32]
Index = NDArray[np.intp]


def copied_patients(
    run: SynthesisRun,
    *,
    false_alarm: float = 0.002,
    margin: float = 0.75,
    duplicate: float = 0.02,
    max_shift: float = 4.0,
    alpha: float = 0.05,
    worst: int = 8,
    nearest: int = 4,
    random: int = 4,
) -> Findings:
    """Copies of training patients.

    Question. Does the generator hand out images of its training patients, as they are or in disguise?

    What it measures. Every sample is scored against every training image, in the image itself (the best of eight
    orientations, shifts of up to some pixels, and gamma are undone; the score is the share of variance left
    unexplained) and in every feature space (distance), and divided by the score of the next nearest training patients.
    Real held-out images are scored in the same way against the same training images. A sample is a copy where its score
    is below three quarters (the parameter margin) of what the lowest held-out patients reach, at a false-alarm rate of
    at most 0.2 % over all spaces together (the parameter false_alarm). The copy rate is the share of such samples; the
    held-out images flagged by the same rule, the number of training patients in the copies, and the exact p-value that
    samples are flagged more often than held-out images stand beside it.

    Why it matters. An image of a training patient among synthetic ones is patient data that left the hospital without
    consent, and it makes every measure of realism and coverage look better. In generators of medical images more than
    half of the samples were found to be copies, most of them flipped or turned, which hides them from a search for
    equal pixels (Dar et al. 2025).

    Known limits. Found are copies under flips, quarter turns, shifts, gamma, gain and offset, noise of a few per cent
    and slight blur. Rotation by other angles, scaling, warping and strong blur are found in part, through the feature
    spaces. Parts of images are MEM-003. Only the training images that were given can be found. The upper end takes
    every detectable copy to be flagged. A training image that stands under several patients counts as one patient; a
    test image that is the same as a training image is left out of the calibration.

    Method and source. Carlini et al. 2023 (distance over those of the next neighbours); Dar et al. 2025 (threshold from
    held-out images, orientation and contrast undone, copies and copied patients both reported). The threshold is an
    order statistic of the lowest score of each held-out patient (Wilks 1941); spaces are put on one scale by training
    images scored against the other training patients. Excess: exact test of Fisher 1935; the lower end inverts it, the
    upper end is Clopper and Pearson 1934 with every flag taken for a copy.
    """
    findings = Findings()
    copies = whole_copies(run, Rule(false_alarm, margin, duplicate, max_shift))
    if isinstance(copies, str):
        findings.missing = copies
        return findings
    assert run.train is not None
    run.shared[CODE] = copies
    threshold, found = copies.threshold, copies.found
    k, m = int(found.sum()), len(found)
    p = excess_test(k, m, threshold.rank - 1, threshold.n)
    patients = len(set(copies.groups[copies.source[found]]))
    overall = flagged_rate(f"{CODE}.copy_rate", "Samples that are copies of training images", found, threshold)
    findings.estimates = [overall, *_by_space(run, copies), _held_out(run, copies)]
    findings.estimates += [
        count(
            f"{CODE}.copied_patients",
            "Training patients that are copied",
            patients,
            n=len(set(copies.groups)),
            unit_of_analysis="training patient",
            better="lower",
        ),
        plain(
            f"{CODE}.excess_p",
            "p of as many flagged samples if they were like held-out patients",
            p,
            n=m,
            unit="1",
            unit_of_analysis="sample",
            better="none",
        ),
    ]
    findings.notes = _said(run, copies, patients)
    least = least_share(k, m, threshold.rank, threshold.n, alpha)
    if p <= alpha and least > 0:
        findings.veto = (
            f"{CODE} found that {k} of {m} samples are copies of {patients} training patients "
            f"(at least {least:.1%} of the samples at {1 - alpha:.0%} confidence)."
        )
    order = _by_badness(copies)
    findings.rows = [_row(run, copies, i) for i in order[:k][:MOST_ROWS]]
    findings.tables[f"exhibits/{CODE}-samples.csv"] = [_row(run, copies, i) for i in order]
    if k:
        findings.exhibits.append(_transforms(copies))
    _show(findings, run, copies, order, (worst, nearest, random))
    return findings


def transformed(image: Float, orientation: int, shift: Sequence[int], gamma: float) -> Float:
    """A training image (H, W) after what a copy of it went through; the border repeats where it was moved."""
    turned = oriented(image, orientation)
    rows, columns = (
        np.clip(np.arange(side) - int(by), 0, side - 1) for side, by in zip(turned.shape, shift, strict=True)
    )
    moved = turned[np.ix_(rows, columns)]
    # Gamma is defined on unit range; where there is none, nothing is cut.
    return moved if gamma == 1 else (np.clip(moved, 0, 1) ** np.float32(gamma)).astype(np.float32)


def disguise(copies: WholeCopies, sample: int) -> str:
    """The kind of change that the nearest training image went through to give a sample."""
    aligned = copies.aligned
    parts = [ORIENTATIONS[aligned.orientation[sample]]] if aligned.orientation[sample] else []
    if aligned.shift[sample].any():
        parts.append("shifted")
    if max(aligned.gamma[sample], 1 / aligned.gamma[sample]) > GAMMA_SLACK:
        parts.append("other gamma")
    if not parts:
        return "unchanged" if aligned.residual[sample] <= EXACT else "noise or another small change"
    return ", ".join(parts)


def _kinds(copies: WholeCopies) -> Counter[str]:
    """Copies by what they went through."""
    found = np.flatnonzero(copies.found).tolist()
    return Counter(disguise(copies, i) if copies.flagged[IMAGE][i] else "near in features only" for i in found)


def _by_space(run: SynthesisRun, copies: WholeCopies) -> list[Estimate]:
    return [
        rate(
            identifier(CODE, "copy_rate", space.name),
            f"Samples flagged in the space {space.name}",
            copies.flagged[space.name].tolist(),
            run.generated.patients,
            unit_of_analysis="sample",
            stratum=space.name,
        )
        for space in copies.spaces
    ]


def _held_out(run: SynthesisRun, copies: WholeCopies) -> Estimate:
    return rate(
        f"{CODE}.flagged_held_out",
        "Held-out real images flagged by the same rule, their own patient left out of the calibration",
        copies.alarms.tolist(),
        [run.reference.patients[i] for i in copies.held_out],
        unit_of_analysis="image",
    )


def _said(run: SynthesisRun, copies: WholeCopies, patients: int) -> list[str]:
    threshold, rule = copies.threshold, copies.rule
    said = [
        f"Threshold: {rule.margin:g} times the score that number {threshold.rank} of {threshold.n} held-out patients "
        f"reaches; expected false-alarm rate at most {threshold.expected:.2%}. Scores below it, over those of the next "
        f"patients: {', '.join(f'{name} {cut:.2f}' for name, cut in copies.cuts.items())}."
    ]
    kinds = _kinds(copies)
    if kinds:
        listed = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
        said.append(f"Of {kinds.total()} copies, showing {patients} training patients: {listed}.")
    return [*said, *_duplicates(run, copies)]


def _duplicates(run: SynthesisRun, copies: WholeCopies) -> list[str]:
    """What the data repeat, which is not the model's doing."""
    assert run.train is not None
    said, leaked = [], len(run.reference) - len(copies.held_out)
    if copies.repeated.size:
        names = {run.train.patients[i] for i in copies.repeated}
        joined = len(set(copies.groups[copies.repeated]))
        said.append(
            f"The training set itself repeats: {copies.repeated.size} of its {len(run.train)} images stand under more "
            f"than one patient ({len(names)} patients, {joined} different ones). They are counted as one patient each "
            "and not charged to the model; remove them before training."
        )
    if leaked:
        said.append(
            f"{leaked} of {len(run.reference)} test images are the same as a training image and were left out of the "
            "calibration; the partitions are not apart."
        )
    return said


def _by_badness(copies: WholeCopies) -> Index:
    """Samples, the flagged ones first, each kind by what is left of the image once the training image is taken off."""
    ratio = np.where(np.isfinite(copies.aligned.ratio), copies.aligned.ratio, np.inf)
    return np.lexsort((np.arange(len(ratio)), ratio, ~copies.flagged[IMAGE], ~copies.found))


def _row(run: SynthesisRun, copies: WholeCopies, sample: int) -> Row:
    assert run.train is not None
    source, aligned = int(copies.source[sample]), copies.aligned
    spaces = copies.spaces_of(sample)
    in_image = source == aligned.reference[sample]
    return {
        "case_id": run.generated.names[sample],
        "patient_id": run.generated.patients[sample],
        "copy": bool(spaces),
        "found_in": ", ".join(spaces),
        "training_case": run.train.names[source],
        "training_patient": run.train.patients[source],
        "transform": aligned.transform(sample) if in_image else "",
        "unexplained": round(float(aligned.residual[sample]), 4) if in_image else None,
        **{f"ratio_{s.name}": _short(float(s.samples[sample])) for s in copies.spaces},
    }


def _short(number: float) -> float | None:
    return round(number, 4) if np.isfinite(number) else None


def _transforms(copies: WholeCopies) -> Exhibit:
    kinds = _kinds(copies)
    rows = [[kind, str(number), f"{number / kinds.total():.0%}"] for kind, number in kinds.most_common()]
    return Exhibit(
        id=f"{CODE}-transforms",
        kind="counts",
        title="What the copies went through",
        caption="Copies by the change that gives the sample from the training image.",
        data={"columns": ["change", "copies", "share"], "rows": rows},
    )


def _show(
    findings: Findings, run: SynthesisRun, copies: WholeCopies, order: Index, counts: tuple[int, int, int]
) -> None:
    """Copies, worst first; the nearest of the others, so that a clean report shows what near means; some at random."""
    worst, nearest, random = counts
    k = int(copies.found.sum())
    picks = [(i, "worst") for i in order[:k][:worst]]
    picks += [(i, "nearest not flagged") for i in order[k:][:nearest]]
    left = np.sort(order[k:][nearest:])
    drawn = rng.child(run.seed, "exhibit", CODE).permutation(len(left))[:random]
    picks += [(i, "random") for i in left[np.sort(drawn)]]
    pairs(
        findings,
        f"{CODE}-pairs",
        "Samples and the training images nearest to them",
        f"{min(worst, k)} of {k} copies, worst first; the {min(nearest, len(order) - k)} samples nearest to a training "
        "image that are no copies; others drawn at random. The training image is shown after the same orientation, "
        "shift, gamma and gain as the sample. The ratio is what it leaves unexplained over what the next patients do.",
        [_pair(run, copies, int(i), rule) for i, rule in picks],
        ("sample", "training image, same change"),
    )


def _pair(run: SynthesisRun, copies: WholeCopies, sample: int, rule: str) -> Pair:
    assert run.train is not None
    aligned, source = copies.aligned, int(copies.source[sample])
    image = run.train.grey[source]
    label = f"near in {' and '.join(copies.spaces_of(sample))}"
    if source == aligned.reference[sample]:
        image = transformed(
            image, int(aligned.orientation[sample]), aligned.shift[sample], float(aligned.gamma[sample])
        )
        image = image * _gain(run.generated.grey[sample], image)
        label = f"{aligned.transform(sample)}, ratio {aligned.ratio[sample]:.2f}"
    patient = run.train.patients[source]
    return Pair(run.generated.grey[sample], image, run.generated.names[sample], patient, label, rule)


def _gain(image: Float, known: Float) -> np.float32:
    """The factor that brings `known` nearest to `image`, by least squares."""
    energy = float((known.astype(np.float64) ** 2).sum())
    return np.float32((image.astype(np.float64) * known).sum() / energy if energy > 0 else 1.0)
