"""MEM-003: samples that hold a part of a training image."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits._memory import Rule, WholeCopies, calibrated, flagged_rate, too_few, whole_copies
from medgan_qa.audits.catalogue import Findings, Row, stack
from medgan_qa.audits.numbers import count, plain, rate
from medgan_qa.audits.synthesis import Pictures, SynthesisRun
from medgan_qa.metrics.local_copies import LocalMatches, local_matches
from medgan_qa.record import Exhibit
from medgan_qa.stats.calibration import CalibratedThreshold, excess_test

CODE = "MEM-003"
WHOLE = "MEM-001"
BATCH = 200
"""Samples searched at once; the patches of the training images are described anew for each batch."""
MOST_ROWS = 200

Float = NDArray[np.float64]
Index = NDArray[np.intp]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Found:
    """Patches of training images in samples."""

    matches: LocalMatches
    threshold: CalibratedThreshold
    flagged: Bool
    """(m,)"""
    whole: Bool
    """(m,) copies of whole images, which MEM-001 counts."""
    alarms: Bool
    """(n,) held-out images flagged when their own patient is left out of the calibration."""
    patients: list[str]
    """(n,) of the held-out images."""


def local_copies(
    run: SynthesisRun,
    *,
    false_alarm: float = 0.002,
    patch: int = 10,
    salient: int = 32,
    worst: int = 8,
    random: int = 4,
) -> Findings:
    """Parts of training images in samples.

    Question. Do samples hold parts of training images, such as a training patient's lesion?

    What it measures. The patches of each sample with the most structure (corners, spots, not straight edges) are looked
    for in every training image, wherever they lie. The score is the share of the patch's variance left unexplained by
    the best place in one training image, over that in the images of other patients. Real held-out images are scored in
    the same way against the same training images; a sample is flagged where its score is below what the lowest held-out
    patients reach, at a false-alarm rate of at most 0.2 % (the parameter false_alarm). Samples that MEM-001 found to be
    copies of whole images are counted apart and are not part of this rate.

    Why it matters. A generator can put a patient's lesion into another anatomy, which comparing whole images does not
    show. The lesion is what identifies the patient, and a detector that is trained on such samples sees the same lesion
    again and again.

    Known limits. Patches are found moved and under another gain and offset, but not turned, flipped or scaled. A copied
    region that is smaller than a patch, or has no structure, is found in part or not at all, so the rate is a lower
    bound of what was copied. A held-out image may hold a patch that is like another patient's: that is what the
    false-alarm rate allows for.

    Method and source. Salient patches after Shi and Tomasi 1994, normalised cross-correlation (Lewis 1995), calibration
    on held-out images after Dar et al. 2025, with an order statistic of the lowest score of each patient (Wilks 1941).
    Lower end by inverting the exact test of the excess over held-out patients (Fisher 1935), upper end Clopper and
    Pearson 1934.
    """
    findings = Findings()
    copies = run.shared.get(WHOLE) or whole_copies(run, Rule(false_alarm))
    if isinstance(copies, str):
        findings.missing = copies
        return findings
    findings.missing = too_few(copies.threshold.n, false_alarm)
    if findings.missing:
        return findings
    found = _found(run, copies, false_alarm, patch, salient)
    rest = ~found.whole
    if not rest.any():
        findings.missing = (
            "Every sample is a copy of a whole training image (MEM-001), so there is nothing to look for."
        )
        return findings
    flags, threshold = found.flagged[rest], found.threshold
    findings.estimates = [
        flagged_rate(f"{CODE}.local_copy_rate", "Samples that hold a patch of a training image", flags, threshold),
        rate(
            f"{CODE}.flagged_held_out",
            "Held-out real images flagged by the same rule, their own patient left out of the calibration",
            found.alarms.tolist(),
            found.patients,
            unit_of_analysis="image",
        ),
        count(
            f"{CODE}.whole_copies",
            "Copies of whole images (MEM-001), not judged here",
            int(found.whole.sum()),
            n=len(rest),
            unit_of_analysis="sample",
            better="lower",
        ),
        plain(
            f"{CODE}.excess_p",
            "p of as many flagged samples if they were like held-out patients",
            excess_test(int(flags.sum()), len(flags), threshold.rank - 1, threshold.n),
            n=len(flags),
            unit="1",
            unit_of_analysis="sample",
            better="none",
        ),
    ]
    findings.notes.append(
        f"Patches of {found.matches.patch} pixels. Threshold: score {threshold.threshold:.3f}, number {threshold.rank} "
        f"of {threshold.n} held-out patients; expected false-alarm rate at most {threshold.expected:.2%}."
    )
    order = _by_badness(found)
    k = int(flags.sum())
    findings.rows = [_row(run, found, i) for i in order[:k][:MOST_ROWS]]
    findings.tables[f"exhibits/{CODE}-samples.csv"] = [_row(run, found, i) for i in order]
    _show(findings, run, found, order, worst, random)
    return findings


def _found(run: SynthesisRun, copies: WholeCopies, false_alarm: float, patch: int, salient: int) -> _Found:
    def matches(asked: Pictures, label: str) -> LocalMatches:
        return _matches(run, asked, copies.groups, patch, salient, label)

    held_out = run.reference.take(copies.held_out)
    scores = _scores(matches(held_out, "Calibrating patches on held-out images"))
    lowest, threshold, others = calibrated(scores, held_out.patients, false_alarm)
    samples = matches(run.generated, "Looking for patches of training images")
    flagged = _scores(samples) < threshold.threshold
    whole = copies.found
    alarms = scores < np.where(lowest <= threshold.threshold, others, threshold.threshold)
    return _Found(samples, threshold, flagged & ~whole, whole, alarms, list(held_out.patients))


def _matches(run: SynthesisRun, asked: Pictures, groups: Index, patch: int, salient: int, label: str) -> LocalMatches:
    assert run.train is not None
    known = run.train.grey

    def search(first: int) -> LocalMatches:
        part = asked.grey[first : first + BATCH]
        return local_matches(part, known, reference_groups=groups, patch=patch, salient=salient)

    parts = run.engine.map(search, range(0, len(asked), BATCH), label=label)
    joined = {
        f.name: np.concatenate([getattr(part, f.name) for part in parts])
        for f in fields(LocalMatches)
        if f.name != "patch"
    }
    return LocalMatches(**joined, patch=parts[0].patch)


def _scores(matches: LocalMatches) -> Float:
    """Ratios; 1, which is not suspicious, where an image has nothing to look for."""
    return np.where(np.isfinite(matches.ratio), matches.ratio, 1.0)


def _by_badness(found: _Found) -> Index:
    """Samples, flagged ones first by score, whole copies last."""
    scores = _scores(found.matches)
    return np.lexsort((np.arange(len(scores)), scores, found.whole, ~found.flagged))


def _row(run: SynthesisRun, found: _Found, sample: int) -> Row:
    assert run.train is not None
    matches, source = found.matches, int(found.matches.reference[sample])
    known = source >= 0
    return {
        "case_id": run.generated.names[sample],
        "patient_id": run.generated.patients[sample],
        "part_copied": bool(found.flagged[sample]),
        "whole_copy": bool(found.whole[sample]),
        "training_case": run.train.names[source] if known else "",
        "training_patient": run.train.patients[source] if known else "",
        "row": int(matches.query_corner[sample, 0]) if known else None,
        "column": int(matches.query_corner[sample, 1]) if known else None,
        "training_row": int(matches.reference_corner[sample, 0]) if known else None,
        "training_column": int(matches.reference_corner[sample, 1]) if known else None,
        "unexplained": round(float(matches.residual[sample]), 4),
        "ratio": round(float(matches.ratio[sample]), 4) if np.isfinite(matches.ratio[sample]) else None,
    }


def _show(findings: Findings, run: SynthesisRun, found: _Found, order: Index, worst: int, random: int) -> None:
    """Patches found again, worst first, and the best matches of samples drawn at random from those not flagged."""
    known = order[found.matches.reference[order] >= 0]
    flagged, rest = known[found.flagged[known]], known[~(found.flagged | found.whole)[known]]
    drawn = rng.child(run.seed, "exhibit", CODE).permutation(len(rest))[:random]
    picks = [(int(i), "worst") for i in flagged[:worst]] + [(int(i), "random") for i in np.sort(rest[drawn])]
    if not picks:
        return
    shown = [_parts(run, found.matches, sample) for sample, _ in picks]
    file = f"exhibits/{CODE}-patches.npz"
    findings.arrays[file] = {
        name: stack([parts[k] for parts in shown]).astype(np.float32)
        for k, name in enumerate(("source", "output", "reference"))
    }
    findings.exhibits.append(
        Exhibit(
            id=f"{CODE}-patches",
            kind="panels",
            title="Parts of samples found again in training images",
            caption=f"{min(worst, len(flagged))} of {len(flagged)} flagged samples, worst first, and samples that are "
            "not flagged, drawn at random, with their best match. The middle column is a window three patches wide "
            "about the place in the sample, the next the same window about the place in the training image.",
            file=file,
            data={
                "cases": [_case(run, found.matches, sample, rule) for sample, rule in picks],
                "columns": {"source": "sample", "output": "sample, window", "reference": "training image, window"},
                "display": [0.0, 1.0],
            },
        )
    )


def _parts(run: SynthesisRun, matches: LocalMatches, sample: int) -> tuple[NDArray[np.float32], ...]:
    """The sample, and the windows about the matched patch in it and in the training image."""
    assert run.train is not None
    image, known = run.generated.grey[sample], run.train.grey[matches.reference[sample]]
    return (
        image,
        _window(image, matches.query_corner[sample], matches.patch),
        _window(known, matches.reference_corner[sample], matches.patch),
    )


def _window(image: NDArray[np.float32], corner: Index, patch: int) -> NDArray[np.float32]:
    """(3 patch, 3 patch) pixels with the patch in the middle; what lies outside the image is black."""
    padded = np.pad(image, patch)
    row, column = (int(c) for c in corner)
    return padded[row : row + 3 * patch, column : column + 3 * patch]


def _case(run: SynthesisRun, matches: LocalMatches, sample: int, rule: str) -> dict[str, str]:
    assert run.train is not None
    (row, column), (of_row, of_column) = matches.query_corner[sample], matches.reference_corner[sample]
    return {
        "case_id": run.generated.names[sample],
        "patient_id": run.train.patients[matches.reference[sample]],
        "label": f"row {row}, column {column}; training image row {of_row}, column {of_column}; "
        f"ratio {matches.ratio[sample]:.2f}",
        "rule": rule,
    }
