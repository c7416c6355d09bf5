"""The tables of a dataset file: how volumes become slices, and what is declared independent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

from medgan_qa.cohorts._keys import Keys

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
Identifiers = Literal["direct", "codes"]
IDENTIFIERS: tuple[Identifiers, ...] = ("direct", "codes")


@dataclass(frozen=True)
class Volumes:
    """How a row whose files hold several slices becomes cases (the table `[volumes]`)."""

    plane: Plane = "axial"
    """The plane of the patient that slices are taken in."""
    every: int = 1
    """Every k-th slice is taken, the first one of the part included."""
    within: tuple[float, float] = (0.0, 1.0)
    """The part of the volume that slices are taken from, as shares of its slices in order of position."""

    def taken(self, slices: int) -> range:
        """The indices that are taken of a volume of so many slices; at least the one in the middle of the part.

        Index k counts as standing at (k + 1/2) / slices.
        """
        start, end = (share * slices - 0.5 for share in self.within)
        first, last = max(0, -int(-start // 1)), min(slices - 1, int(end // 1))
        if first > last:
            middle = min(slices - 1, int((start + end + 1) / 2))
            return range(middle, middle + 1)
        return range(first, last + 1, self.every)


@dataclass(frozen=True)
class Independence:
    """What is declared disjoint between the test partition and the others (the table `[independence]`).

    A flag that is not given is not declared, which is what False means too.
    """

    patients: bool = False
    studies: bool = False
    sites: bool = False
    scanners: bool = False
    dates: bool = False
    """No test image was acquired on a day on which an image of another partition was."""
    test_acquired_after: str | None = None
    """ISO date: every test image was acquired after it."""
    sequestered_since: str | None = None
    """ISO date: the test partition has been out of reach of the development since."""
    earlier_uses: int | None = None
    """How often the test partition was used to judge a model before; None: not declared."""


_VOLUMES = ("plane", "every", "within")
_DISJOINT = ("patients", "studies", "sites", "scanners", "dates")
_INDEPENDENCE = (*_DISJOINT, "test_acquired_after", "sequestered_since", "earlier_uses")


def volumes(content: dict[str, Any] | None, problems: list[str]) -> Volumes | None:
    """The table `[volumes]`; what is wrong with it is added to `problems`."""
    if content is None:
        return None
    keys = Keys(content, _VOLUMES, problems, "volumes")
    plane = cast(Plane, keys.one_of("plane", PLANES) or "axial")
    return Volumes(plane, keys.whole("every", 1) or 1, keys.part("within") or (0.0, 1.0))


def independence(content: dict[str, Any] | None, problems: list[str]) -> Independence | None:
    """The table `[independence]`; what is wrong with it is added to `problems`."""
    if content is None:
        return None
    keys = Keys(content, _INDEPENDENCE, problems, "independence")
    return Independence(
        **{name: keys.boolean(name) for name in _DISJOINT},
        test_acquired_after=keys.date("test_acquired_after"),
        sequestered_since=keys.date("sequestered_since"),
        earlier_uses=keys.whole("earlier_uses", 0),
    )
