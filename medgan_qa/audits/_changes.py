"""What gives one image from another, in words."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._alignment import ORIENTATIONS
from medgan_qa.metrics.near_copies import ClosePairs

EXACT = 1e-4
"""Residual up to which an image that was not moved is told as unchanged."""
GAMMA_SLACK, SCALE_SLACK, SHIFT_SLACK, TURN_SLACK = 1.1, 0.015, 0.5, 1.5
"""Gamma (factor), scale (share), shift (pixels of the working grid) and turn (degrees) that are not told."""

Vector = NDArray[np.float64]


def change(close: ClosePairs, number: int, forwards: bool, unit: float = 1.0) -> str:
    """What gives the query from its reference, or, not forwards, the reference from its query.

    `unit`: pixels of the stored image per pixel of the working grid, for shifts and blurs.
    """
    mirrored, turn = bool(close.mirrored[number]), float(close.turn[number])
    scale, gamma, blur = float(close.scale[number]), float(close.gamma[number]), float(close.blur[number])
    shift = close.shift[number]
    if not forwards:
        shift = _undone(mirrored, turn, scale, shift)
        turn, scale, gamma = (turn if mirrored else -turn), 1 / scale, 1 / gamma
    parts = _turned(mirrored, turn)
    if abs(np.log(scale)) > SCALE_SLACK:
        parts.append(f"scale {scale:.2f}")
    if np.abs(shift).max() > SHIFT_SLACK:
        parts.append(f"shift ({unit * shift[0]:+.1f}, {unit * shift[1]:+.1f})")
    if max(gamma, 1 / gamma) > GAMMA_SLACK:
        parts.append(f"contrast (gamma {gamma:.2f})")
    # An image that was enlarged is softer for that, and told as enlarged.
    enlarged = np.log(float(close.scale[number])) > SCALE_SLACK
    if blur > 0 or (blur < 0 and not enlarged):
        parts.append(f"blur {unit * abs(blur):.1f} px" if (blur > 0) == forwards else "sharpened")
    same = "unchanged" if close.residual[number] <= EXACT else "noise or another small change"
    return ", ".join(parts) or same


def _turned(mirrored: bool, turn: float) -> list[str]:
    """Orientation in words: one of the eight of the square, or a flip and an angle."""
    quarter = round(turn / 90)
    if abs(turn - 90 * quarter) <= TURN_SLACK:
        codes = {0: 1, 1: 7, 2: 2, 3: 4} if mirrored else {0: 0, 1: 5, 2: 3, 3: 6}
        code = codes[quarter % 4]
        return [ORIENTATIONS[code]] if code else []
    return [*(["flip left-right"] if mirrored else []), f"rotation {turn:+.1f} degrees"]


def _undone(mirrored: bool, turn: float, scale: float, shift: Vector) -> Vector:
    """The shift of the inverse: what was moved, turned back."""
    angle = np.radians(-turn)
    y, x = -shift / scale
    back = np.array([np.sin(angle) * x + np.cos(angle) * y, np.cos(angle) * x - np.sin(angle) * y])
    undone: Vector = back * np.array([1, -1 if mirrored else 1])
    return undone


def kind_of(change_: str) -> str:
    """A change without its numbers."""
    return re.sub(r" \([^)]*\)| [+-]?\d+\.\d+( degrees| px)?", "", change_)
