"""HYG-005: augmentation of the training images that shows in the samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chisquare

from medgan_qa.audits._leak_evidence import CODE, Evidence, Rule, evidence, group_name
from medgan_qa.audits._leak_exhibits import confusion, most_turned, others, shares
from medgan_qa.audits._leak_readers import PARTS
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.numbers import ALPHA, count, identifier, rate
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.criteria import Declared, Estimate
from medgan_qa.metrics._alignment import ORIENTATIONS
from medgan_qa.record import Interval, Measurement
from medgan_qa.stats import required_n
from medgan_qa.stats.misread_labels import Counted

METHOD = (
    "Clopper-Pearson by unit on both parts (Bonferroni); no false alarms taken off the upper end, all off the lower"
)
NAMES = {"turned": "turned_rate", "moved": "moved_rate", "altered": "altered_rate", "cut": "cut_out_rate"}
LABELS = {
    "turned": "Share of samples that are turned by quarters or flipped",
    "moved": "Share of samples that lie, or are sized, as no real image is",
    "altered": "Share of samples whose intensities or colours no real image has",
    "cut": "Share of samples with a piece cut out",
}
ROTATIONS = (3, 5, 6)
"""Codes of rotations by 180, 90 and 270 degrees."""
UNEVEN = 0.01
"""Probability of shares as uneven as those found, below which rotations were not drawn evenly."""
MOST_ROWS = 200

Bool = NDArray[np.bool_]


def leaked_augmentation(
    run: SynthesisRun,
    *,
    false_alarm: float = 0.005,
    recall_min: float = 0.75,
    planted: int = 150,
    worst: int = 8,
) -> Findings:
    """Augmentation leaking into generated images.

    Question. Does the generator give out the augmentation that its training images went through?

    What it measures. The share of samples that are augmented, and how: in another of the eight positions of a square
    (flips and quarter turns), turned by another angle, moved or scaled, with other intensities or colours, or with a
    piece cut out. Readers are learnt from real training images alone, and read real test images, which tells their
    false alarms; the same test images changed on purpose, which tells what they miss; and the samples. A share is the
    share of samples that a reader calls augmented, corrected for both. A change is told apart when the share of it that
    is found is at least `recall_min`, at its lower bound; any other is listed as not detectable and its share has no
    value. Where rotations by 90, 180 and 270 degrees are told apart and equally frequent, the probability p with which
    images were rotated follows: three quarters of p are turned.

    Why it matters. A discriminator that sees augmented images alone takes them for the data, and the generator learns
    to make them: above a probability of about 0.8 rotations and flips leak. Turned anatomy is no anatomy, and a flip
    exchanges left and right: the heart lies on the wrong side, and a lesion as well.

    Known limits. A flip shows only as far as the anatomy is asymmetric, and where the reader cannot tell it the
    question stays open for it: that is no pass. A generator whose intensities are wrong throughout is called altered
    too; so is one that was trained on another population. One change can show in several readings: a cut-out alters
    intensities, and a rotation by an odd angle can look like a flip. Holes are squares of one value, smoother than the
    rest of the image, where nearly all real images have body; a cavity that the model makes without its noise counts as
    one. Noise, blur and erased frequencies are not read; FID-002 looks at those. If the real training images of the
    dataset are augmented themselves, nothing here shows it; HYG-002 looks at the test partition.

    Method and source. T. Karras et al. 2020 (arXiv 2006.06676) for what leaks and when. Position: conditional logit
    over the eight positions (McFadden 1974) of the image with the body in the middle, so that errors on turned images
    follow from those on upright ones. Angle: ridge regression on images that are turned on purpose. Place, size and
    intensity: the distance of a few moments and quantiles from the real ones (Mahalanobis 1936). Limits: tails of
    readings of real images by readers that other patients taught, so that a share `false_alarm` of real images goes
    beyond each. Shares: Rogan and Gladen 1978, the ends from exact bounds of each part at half of the error rate, real
    images clustered by patient.
    """
    findings = Findings()
    seen = evidence(run, Rule(false_alarm, recall_min, planted))
    if isinstance(seen, str):
        findings.missing = seen
        return findings
    positions = by_position(seen, recall_min)
    findings.estimates = [
        *in_all(seen, recall_min),
        *positions,
        rotation_probability(seen, recall_min),
        *_readers(seen),
    ]
    findings.notes = _said(seen, findings.estimates)
    findings.rows = _rows(seen)
    findings.exhibits += [shares(positions), confusion(seen)]
    most_turned(findings, seen, worst)
    others(findings, seen, worst)
    return findings


def in_all(seen: Evidence, recall_min: float) -> list[Estimate]:
    """The share of augmented samples, and of those that are augmented in each way."""
    return [
        _share(
            seen,
            "augmented_rate",
            "Share of samples that are augmented in any way that is told apart",
            (seen.drawn.any, seen.real.any),
            [power.overlooked for power in seen.seen()],
        ),
        *(_part(seen, part, recall_min) for part in PARTS),
    ]


def _share(
    seen: Evidence,
    name: str,
    label: str,
    events: tuple[Bool, Bool],
    missed: Sequence[Counted],
    *,
    stratum: str | None = None,
    factor: float = 1.0,
    void: str | None = None,
) -> Estimate:
    """A corrected share of samples; `events` are of samples and real images, `missed` of real images that are changed.

    With `factor` the share and its interval are multiplied, and cut at 1.
    """
    void = void or (None if missed else "No change of this kind is told apart in these images.")

    def at(alpha: float) -> Interval:
        w = seen.share(*events, missed, alpha)
        low, high = (min(1.0, factor * end) for end in (w.low, w.high))
        return Interval(low=low, high=high, level=1 - alpha, method=METHOD, sided=1)

    value = None if void else seen.share(*events, missed, ALPHA).value
    units = len(set(seen.samples.patients))
    measurement = Measurement(
        id=identifier(CODE, name, stratum),
        label=label,
        value=None if value is None else min(1.0, factor * value),
        unit="fraction",
        interval=None if value is None else at(ALPHA),
        n=len(seen.samples),
        unit_of_analysis="sample",
        better="lower",
        stratum=stratum,
        clusters=None if units == len(seen.samples) else units,
        reason=None if value is not None else void or "The readers tell nothing apart.",
    )
    return Estimate(measurement, at if value is not None else None, _shortfall(int(events[0].sum()), len(seen.samples)))


def _shortfall(found: int, n: int) -> Callable[[Declared, float], str | None]:
    def shortfall(declared: Declared, alpha: float) -> str | None:
        limit = declared.limit.get("max")
        if limit is None or not 0 < limit < 1:
            return None
        head = f"{found} of {n} samples are called augmented"
        if found >= limit * n:
            return f"{head}; that is at or above the limit, so more samples alone will not carry this claim"
        needed = required_n(limit, alpha / 2, found)
        return f"{head}; about {needed} samples are needed for this claim with as many, or more real images"

    return shortfall


def _part(seen: Evidence, part: str, recall_min: float) -> Estimate:
    events = (seen.drawn.found(part), seen.real.found(part))
    powers = seen.seen(part)
    void = None if powers else _unseen([power.name for power in seen.powers if power.part == part], recall_min)
    return _share(seen, NAMES[part], LABELS[part], events, [power.missed for power in powers], void=void)


def _unseen(names: Sequence[str], recall_min: float) -> str:
    return (
        f"Not detectable: the share of real images changed so ({', '.join(names)}) that is found is not shown to be "
        f"{recall_min:.2f} or more. Nothing is known of the samples in this respect."
    )


def by_position(seen: Evidence, recall_min: float) -> list[Estimate]:
    """The share in every position, and those of which nothing is known."""
    made = []
    for group in seen.groups:
        name = group_name(group)
        events = (np.isin(seen.drawn.code, group), np.isin(seen.real.code, group))
        made.append(_share(seen, "turned_rate", f"Samples: {name}", events, _unnamed(seen, group), stratum=name))
    for code in sorted(seen.readers.alike - {0}):
        name = ORIENTATIONS[code]
        none = np.zeros(len(seen.samples), bool), np.zeros(len(seen.held), bool)
        void = _unseen([name], recall_min)
        made.append(_share(seen, "turned_rate", f"Samples: {name}", none, [], stratum=name, void=void))
    return made


def _unnamed(seen: Evidence, group: Sequence[int]) -> list[Counted]:
    """Real images put into each position of a group; event: they are not read as in the group."""
    made = []
    for code in group:
        read, _ = seen.readers.positions(seen.readers.turned(seen.scores, code))
        made.append(Counted((~np.isin(read, group)).tolist(), seen.held.patients))
    return made


def rotation_probability(seen: Evidence, recall_min: float) -> Estimate:
    """The probability of a rotation by 0, 90, 180 or 270 degrees, each as likely as the others."""
    groups = [next((group for group in seen.groups if code in group), ()) for code in ROTATIONS]
    turned = sorted({code for group in groups for code in group})
    events = (np.isin(seen.drawn.code, turned), np.isin(seen.real.code, turned))
    return _share(
        seen,
        "rotation_probability",
        "Probability with which images were rotated by 0, 90, 180 or 270 degrees",
        events,
        [missed for group in groups for missed in _unnamed(seen, group)],
        factor=4 / 3,
        void=_no_model(seen, groups, recall_min),
    )


def _no_model(seen: Evidence, groups: Sequence[Sequence[int]], recall_min: float) -> str | None:
    """Why the share of rotated samples gives no probability."""
    hidden = [ORIENTATIONS[code] for code, group in zip(ROTATIONS, groups, strict=True) if not group]
    if set(ROTATIONS) - set(seen.readers.codes):
        return "Images that are not square have no quarter turns."
    if hidden:
        return _unseen(hidden, recall_min)
    found = [int(np.isin(seen.drawn.code, group).sum()) for group in groups]
    if sum(found) and chisquare(found).pvalue < UNEVEN:
        counts = ", ".join(f"{n} {group_name(group)}" for n, group in zip(found, groups, strict=True))
        return f"The rotations are not equally frequent ({counts}), so no one probability stands behind them."
    rest = [group for group in seen.groups if group not in groups]
    flips = sum(int(np.isin(seen.drawn.code, group).sum()) for group in rest)
    if flips > max(1.0, 0.1 * sum(found)) and flips > 0.02 * len(seen.samples):
        return f"Samples are flipped as well ({flips}), so rotation alone does not explain them."
    return None


def _readers(seen: Evidence) -> list[Estimate]:
    """What the readers are worth: found changes, false alarms, and how many changes are not told apart."""
    made = [
        rate(
            identifier(CODE, "reader_recall", power.name),
            f"Real test images changed on purpose in which this is found: {power.name}",
            power.recall.events,
            [str(patient) for patient in power.recall.clusters],
            unit_of_analysis="image",
            better="higher",
            stratum=power.name,
        )
        for power in seen.powers
    ]
    made += [
        rate(
            identifier(CODE, "false_alarm_rate", NAMES[part].removesuffix("_rate").replace("_", "-")),
            f"Real test images as they are that count as augmented ({NAMES[part].removesuffix('_rate')})",
            seen.real.found(part).tolist(),
            seen.held.patients,
            unit_of_analysis="test image",
            stratum=NAMES[part].removesuffix("_rate").replace("_", "-"),
            units=seen.held.names,
        )
        for part in PARTS
    ]
    unseen = sum(not power.seen for power in seen.powers)
    return [
        *made,
        count(
            f"{CODE}.undetectable_changes",
            "Changes that are not told apart in these images",
            unseen,
            n=len(seen.powers),
            unit_of_analysis="change",
            better="lower",
        ),
    ]


def _said(seen: Evidence, estimates: Sequence[Estimate]) -> list[str]:
    said = [
        f"Readers were learnt from {seen.readers.patients} real patients and tested on {len(set(seen.held.patients))} "
        f"others ({len(seen.held)} images)."
    ]
    unseen = [power.name for power in seen.powers if not power.seen]
    if unseen:
        said.append(f"Not detectable in these images, so open: {', '.join(unseen)}.")
    altered = next(e.measurement for e in estimates if e.measurement.id == f"{CODE}.altered_rate")
    if altered.value is not None and altered.value > 0.5:
        said.append(
            "More than half of the samples have intensities that no real image has: rather an error of the generator "
            "throughout than augmentation; see FID-001."
        )
    return said


def _rows(seen: Evidence) -> list[Row]:
    """Samples in which something was found, the most confidently turned first."""
    drawn = seen.drawn
    order = np.lexsort((np.arange(len(drawn.code)), -drawn.excess.max(axis=1), -drawn.odds))
    return [
        {
            "case_id": seen.samples.names[k],
            "patient_id": seen.samples.patients[k],
            "found": ", ".join(part for part in PARTS if drawn.found(part)[k]),
            "position": ORIENTATIONS[drawn.code[k]] if drawn.code[k] else "",
            "log_odds_over_limit": round(float(drawn.odds[k]), 3),
            **{f"{part}_over_limit": round(float(drawn.excess[k, j]), 3) for j, part in enumerate(PARTS[1:])},
        }
        for k in order.tolist()
        if drawn.any[k]
    ][:MOST_ROWS]
