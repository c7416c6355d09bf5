"""How much of a large exhibit is drawn: fixed rules, each told where it leaves something out.

What is not drawn stands in the run's files, which are whole. The limits stand in `limits`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medgan_qa.record import Exhibit
from medgan_qa.report.limits import MOST_IMAGES, MOST_PANELS, MOST_POINTS, MOST_STEPS, MOST_STRATA
from medgan_qa.report.numbers import counted

_KEPT_WHOLE = frozenset({"lost", "flat", "inverted", "invented"})


def bounded(exhibit: Exhibit) -> tuple[Mapping[str, Any], str]:
    """The data of an exhibit as it is drawn, and a sentence on what is left out; an empty one where nothing is."""
    data = exhibit.data
    if exhibit.kind == "scatter" and len(data["points"]) > MOST_POINTS:
        shown, words = _points(data["points"])
        return {**data, "points": shown}, words
    if exhibit.kind == "forest" and len(data["rows"]) > MOST_STRATA:
        return {**data, "rows": data["rows"][:MOST_STRATA]}, _first(MOST_STRATA, len(data["rows"]), "row")
    if exhibit.kind == "curves":
        return {**data, "series": [_course(entry) for entry in data["series"]]}, ""
    if exhibit.kind == "panels" and len(data["cases"]) > MOST_PANELS:
        return data, _first(MOST_PANELS, len(data["cases"]), "case")
    if exhibit.kind == "sheet" and any(int(group["count"]) > MOST_IMAGES for group in data["groups"]):
        return data, f"Of each group the first {MOST_IMAGES} images are shown."
    return data, ""


def _first(shown: int, total: int, unit: str) -> str:
    return f"The first {shown} of {counted(total, unit)} are shown."


def _points(points: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], str]:
    whole = [k for k, point in enumerate(points) if point.get("group") in _KEPT_WHOLE]
    if len(whole) > MOST_POINTS // 2:
        whole = []
    kept = set(whole)
    rest = [k for k in range(len(points)) if k not in kept]
    step = -(-len(rest) // (MOST_POINTS - len(whole)))
    kept |= set(rest[::step])
    also = ", and all that were lost, flat, inverted or invented" if whole else ""
    words = f"Drawn are {len(kept)} of {counted(len(points), 'point')}: one in {step} in the order of the data{also}."
    return [points[k] for k in sorted(kept)], words


def _course(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """A line with no more steps than paper shows; its ends stay."""
    steps = len(entry["x"])
    if steps <= MOST_STEPS:
        return entry
    places = sorted({round(k * (steps - 1) / (MOST_STEPS - 1)) for k in range(MOST_STEPS)})
    return {
        key: [value[k] for k in places] if key in ("x", "y", "low", "high") and value else value
        for key, value in entry.items()
    }
