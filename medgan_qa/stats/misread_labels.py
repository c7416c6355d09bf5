"""The share of wrong labels behind a reader who misreads some of the right ones.

References:
    W. J. Rogan, B. Gladen, "Estimating prevalence from the results of a screening test", Am. J. Epidemiol. 107 (1978)
        71-76: the estimate.
    C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404-413: the ends.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from medgan_qa.stats.proportions import ClusteredProportion, clustered_proportion


class Counted(NamedTuple):
    """Units with and without an event, and the independent unit (patient, sample) of each."""

    events: Sequence[bool]
    clusters: Sequence[Hashable]

    def proportion(self, alpha: float) -> ClusteredProportion:
        """Their share with one-sided exact bounds clustered by unit."""
        return clustered_proportion(list(self.events), self.clusters, alpha=alpha, sided=1)


class WrongLabels(NamedTuple):
    """Share of the images of one label that show something else."""

    value: float | None
    """None without images of the label, or where the reader tells nothing apart."""
    low: float
    high: float


def wrong_labels(contradicted: Counted, missed: Counted, taken: Sequence[Counted], alpha: float = 0.05) -> WrongLabels:
    """Share of wrong labels among images of one label, from what a reader with known errors says of them.

    With q the share of the label's images that the reader contradicts, e the share of real images of the class that it
    misses and f the share of real images of another class that it takes for it, the estimate is (q - e) / (1 - e - f),
    cut to [0, 1]; f is the largest over the other classes, as nobody knows which of them a wrong image shows.

    The ends do not rely on the reader making the same errors on synthetic images as on real ones, only on no more of
    them. The upper end takes nothing off for misses (a reader for whom synthetic images are easier would hide wrong
    labels behind the errors it no longer makes), and the lower end takes all of them off and divides by 1 - e:

        low = (q_low - e_high) / (1 - e_high),  high = q_high / (1 - f_high).

    Each of its two parts is bounded at half of the error rate, and f_high of several classes at a share of that each.

    Args:
        contradicted: images of the label; event: the reader says something else.
        missed: real images of the class; event: the reader says something else.
        taken: real images of each other class; event: the reader takes it for this class.
        alpha: one-sided error rate of each end, in (0, 0.5].

    Raises:
        ValueError: no other class, or units without a cluster.
    """
    if not taken:
        raise ValueError("there is no other class that an image of this one could be of")
    q, e = contradicted.proportion(alpha / 2), missed.proportion(alpha / 2)
    others = [one.proportion(alpha / 2 / len(taken)) for one in taken]
    f_high = max(other.high for other in others)
    low = max(0.0, q.low - e.high) / (1.0 - e.high) if e.high < 1.0 else 0.0
    high = 1.0 if q.high >= 1.0 - f_high else q.high / (1.0 - f_high)
    return WrongLabels(_estimate(q.value, e.value, [other.value for other in others]), low, high)


def _estimate(q: float | None, e: float | None, others: Sequence[Any]) -> float | None:
    if q is None or e is None or any(f is None for f in others):
        return None
    tells = 1.0 - e - max(others)
    return None if tells <= 0.0 else min(1.0, max(0.0, q - e) / tells)
