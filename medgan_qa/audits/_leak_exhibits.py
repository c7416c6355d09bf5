"""What HYG-005 shows: shares by position, what the readers say of real images, and samples called augmented."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medgan_qa.audits._leak_evidence import CODE, Evidence
from medgan_qa.audits._leak_readers import PARTS
from medgan_qa.audits.catalogue import Findings
from medgan_qa.audits.exhibits import Pair, forest, pairs, sheet
from medgan_qa.criteria import Estimate
from medgan_qa.metrics._alignment import INVERSE, ORIENTATIONS, oriented
from medgan_qa.record import Exhibit

TITLES = {
    "moved": "Place or size as no real image has",
    "altered": "Intensities or colours as no real image has",
    "cut": "A piece cut out",
}


def shares(positions: Sequence[Estimate]) -> Exhibit:
    """Shares by position with their intervals."""
    return forest(
        f"{CODE}-positions",
        "Samples by position",
        "Share of the samples in each position other than upright, corrected for the reader's errors on real images. "
        "Ends are one-sided 95 % bounds. A position without a value cannot be told from another in these images.",
        positions,
        x=(0.0, 1.0),
    )


def confusion(seen: Evidence) -> Exhibit:
    """What the reader says of real images put into every position, and of the samples."""
    readers = seen.readers
    held = [
        (f"real: {ORIENTATIONS[code]}", readers.positions(readers.turned(seen.scores, code))[0])
        for code in readers.codes
    ]
    rows = [
        [name, *(str(int((read == code).sum())) for code in readers.codes)]
        for name, read in [*held, ("samples", seen.drawn.code)]
    ]
    return Exhibit(
        id=f"{CODE}-confusion",
        kind="counts",
        title="What the reader of positions says",
        caption="Real test images put into each position (row) by the position that they are read in (column), and the "
        "samples. Positions that are not told from upright are read as upright.",
        data={"columns": ["images", *(f"read as {ORIENTATIONS[code]}" for code in readers.codes)], "rows": rows},
    )


def most_turned(findings: Findings, seen: Evidence, worst: int) -> None:
    """The samples that are most confidently turned, beside themselves turned back."""
    turned = np.flatnonzero(seen.drawn.code > 0)
    order = turned[np.argsort(-seen.drawn.odds[turned], kind="stable")]
    pairs(
        findings,
        f"{CODE}-turned",
        "The most confidently turned samples",
        f"{min(worst, len(turned))} of {len(turned)} samples that are read as turned or flipped, the largest "
        "log odds first. Beside each the same sample with that undone.",
        [_pair(seen, int(k)) for k in order[:worst]],
        ("sample", "the same, undone"),
    )


def _pair(seen: Evidence, k: int) -> Pair:
    image, code = seen.samples.grey[k], int(seen.drawn.code[k])
    label = f"{ORIENTATIONS[code]}, log odds over the limit {seen.drawn.odds[k]:.1f}"
    undone = np.ascontiguousarray(oriented(image, INVERSE[code]))
    return Pair(image, undone, seen.samples.names[k], seen.samples.patients[k], label, "worst")


def others(findings: Findings, seen: Evidence, worst: int) -> None:
    """The samples farthest beyond the limits of the other readers."""
    groups = {}
    for j, part in enumerate(PARTS[1:]):
        found = np.flatnonzero(seen.drawn.found(part))
        order = found[np.argsort(-seen.drawn.excess[found, j], kind="stable")][:worst]
        groups[f"{TITLES[part]}: {len(found)} of {len(seen.samples)}"] = seen.samples.grey[order]
    sheet(
        findings,
        f"{CODE}-others",
        "Samples that lie, look or are cut as no real image",
        f"Of each kind up to {worst} samples, the farthest beyond the limit first.",
        groups,
    )
