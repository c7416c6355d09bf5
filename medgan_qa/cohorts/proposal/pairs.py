"""Which contrast is the source and which the target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from typing import NamedTuple

from medgan_qa.cohorts.proposal.content import Wishes
from medgan_qa.cohorts.proposal.names import CONTRASTS
from medgan_qa.errors import InputError


class Contrasts(NamedTuple):
    """What was chosen; None: all images are taken as they are, and there is no pair."""

    source: str | None
    target: str | None
    guessed: tuple[str, ...] = ()
    open: tuple[str, ...] = ()

    @property
    def source_name(self) -> str | None:
        """The source as a domain's name."""
        return None if self.source is None else self.source.upper().replace("T1W", "T1").replace("T2W", "T2")

    @property
    def target_name(self) -> str | None:
        """The target as a domain's name."""
        return None if self.target is None else self.target.upper().replace("T1W", "T1").replace("T2W", "T2")


def contrasts(groups: Sequence[Set[str | None]], wishes: Wishes) -> Contrasts:
    """Choose source and target.

    As asked for; else the two contrasts that every case has and no more; else the one that most cases have.

    Args:
        groups: the contrasts of each case, None for an image that names none.
        wishes: what the user asked for.

    Raises:
        InputError: no file is of the contrast that was asked for.
    """
    counts = Counter(contrast for group in groups for contrast in group if contrast is not None)
    if wishes.source or wishes.target:
        return _as_asked(counts, wishes)
    everywhere = [contrast for contrast, number in counts.items() if number == len(groups)]
    if len(everywhere) == 2 == len(counts):
        source, target = sorted(everywhere, key=CONTRASTS.index)
        return Contrasts(source, target, (f"{source} is the source and {target} the target: the order is a guess",))
    if not counts or (len(counts) == 1 and len(groups) == sum(counts.values())):
        return Contrasts(next(iter(counts), None), None)
    if any(None in group for group in groups) and sum(counts.values()) < len(groups) / 2:
        return Contrasts(None, None)
    chosen = counts.most_common(1)[0][0]
    listed = ", ".join(f"{contrast} {number}" for contrast, number in counts.most_common())
    return Contrasts(chosen, None, open=(f"a pair of contrasts: there are {listed}; --source and --target choose two",))


def _as_asked(counts: Counter[str], wishes: Wishes) -> Contrasts:
    source, target = (wish.lower() if wish else None for wish in (wishes.source, wishes.target))
    for flag, wish in (("--source", source), ("--target", target)):
        if wish is not None and wish not in counts:
            raise InputError(
                "No image is of the contrast that was asked for.",
                expected=f"one of {', '.join(sorted(counts)) or 'none: no file name holds a contrast'}",
                found=wish,
                where=flag,
                todo="Name a contrast that file names or folders hold.",
            )
    if source is None:
        source = next((contrast for contrast, _ in counts.most_common() if contrast != target), None)
    return Contrasts(source, target)
