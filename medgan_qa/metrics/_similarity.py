"""Laying one image over another: the rotation, scale and shift under which a reference looks most like a query.

Gauss-Newton steps on the squared difference, in which gain and offset of the reference are free as well: a step solves
query = a + b (warped + gradient . motion) for a, b and b times the motion.

References:
    B. D. Lucas, T. Kanade, "An iterative image registration technique with an application to stereo vision", IJCAI
        (1981) 674-679.
    S. Baker, I. Matthews, "Lucas-Kanade 20 years on: a unifying framework", Int. J. Comput. Vis. 56 (2004) 221-255:
        the forward additive algorithm.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._alignment import Float
from medgan_qa.metrics._polar import sampled

Index = NDArray[np.intp]
Bool = NDArray[np.bool_]

LARGEST_TURN = 0.12
"""Change of rotation (radians) and of scale (share) that one step may make."""
LARGEST_MOVE = 0.12
"""Shift that one step may make, as a share of half the shorter side."""
DAMPING = 1e-4
"""Share of the diagonal added to the normal equations."""
RIM = 0.08
"""Width, as a share of half the shorter side, of a strip along the reference's border that does not count: where what
was cut off there is filled, smoothing mixes the filling in."""
SCALES = (0.6, 1.7)
"""Scales that are no longer believed."""


class Layout(NamedTuple):
    """Where each pixel of a query comes from in its reference.

    In units of half the shorter side about the middle of the image, with y down: a place (x, y) of the query shows the
    place (a x - b y + u, b x + a y + v) of the reference, which was flipped left-right beforehand where `mirrored`.
    """

    motion: Float
    """(P, 4) a, b, u, v."""
    mirrored: Bool
    """(P,)"""

    def take(self, chosen: Index | slice | Bool) -> Layout:
        """Some of the pairs."""
        return Layout(self.motion[chosen], self.mirrored[chosen])


class Warped(NamedTuple):
    """References as their queries would have them."""

    pixels: Float
    """(P, h, w)"""
    inside: Bool
    """(P, h, w) pixels that come from inside the reference, and not from its rim."""


def grid(shape: tuple[int, int]) -> tuple[Float, Float]:
    """Places (y, x) of all pixels, each (h * w,), in units of half the shorter side about the middle."""
    half = min(shape) / 2
    y, x = ((np.arange(side) - (side - 1) / 2) / half for side in shape)
    down, across = np.meshgrid(y, x, indexing="ij")
    return down.ravel().astype(np.float32), across.ravel().astype(np.float32)


def warp(references: Float, index: Index, layout: Layout, reach: Float) -> Warped:
    """The references `index` (P,) of (N, h, w), each laid out as its query.

    `reach` (N, 2): how far each reference reaches down and across from the middle of the grid, in units of half its
    shorter side.
    """
    height, width = references.shape[1:]
    half = np.float32(min(height, width) / 2)
    y, x = grid((height, width))
    a, b, u, v = (layout.motion[:, k, None] for k in range(4))
    to_x = (a * x - b * y + u) * half
    # Flipping the reference is reading it at the mirrored place.
    to_x = np.where(layout.mirrored[:, None], -to_x, to_x) + np.float32((width - 1) / 2)
    to_y = (b * x + a * y + v) * half + np.float32((height - 1) / 2)
    # The outermost half pixel of a picture is beyond the centres of its pixels.
    far = half * (reach[index] - np.float32(RIM)) + np.float32(0.01)
    inside = np.abs(to_x - np.float32((width - 1) / 2)) < far[:, 1:]
    inside &= np.abs(to_y - np.float32((height - 1) / 2)) < far[:, :1]
    shape = (len(index), height, width)
    return Warped(sampled(references, index, to_y, to_x).reshape(shape), inside.reshape(shape))


def refined(
    queries: Float,
    weights: Float,
    references: Float,
    reach: Float,
    pairs: tuple[Index, Index],
    start: Layout,
    steps: int,
    pace: float,
) -> Layout:
    """Layouts after some Gauss-Newton steps.

    Args:
        queries: (Q, h, w).
        weights: (Q, h, w) how much each pixel of a query counts, in [0, 1].
        references: (N, h, w).
        reach: (N, 2) as `warp` wants it.
        pairs: query and reference of each pair, (P,) each.
        start: rough layouts; what is off by more than some 15 degrees or an eighth of the image is not found.
        steps: how many.
        pace: share of a step that is made. Differences of neighbouring pixels are less than the slope where structure
            is a few pixels wide, so that whole steps go too far and, on a coarse grid, to and fro for ever.
    """
    y, x = grid((references.shape[1], references.shape[2]))
    motion = start.motion.copy()
    target, root = queries[pairs[0]], np.sqrt(weights[pairs[0]], dtype=np.float32)
    for _ in range(steps):
        warped = warp(references, pairs[1], Layout(motion, start.mirrored), reach)
        step = _step(target, root * warped.inside, warped.pixels, motion, y, x)
        motion = _held(motion + np.float32(pace) * step)
    return Layout(motion, start.mirrored)


def _step(target: Float, root: Float, warped: Float, motion: Float, y: Float, x: Float) -> Float:
    """(P, 4) change of the motion; `root` is the square root of the weights."""
    count, height, width = warped.shape
    half = np.float32(min(height, width) / 2)
    down, across = _gradient(warped, half)
    a, b = motion[:, 0, None], motion[:, 1, None]
    scale = np.maximum(a * a + b * b, np.float32(1e-6))
    cos, sin = a / scale, b / scale
    # From the gradient along the query's axes to that along the reference's.
    along_x, along_y = cos * across - sin * down, sin * across + cos * down
    columns = np.empty((count, 7, height * width), np.float32)
    columns[:, 0] = 1
    columns[:, 1] = warped.reshape(count, -1)
    np.add(along_x * x, along_y * y, out=columns[:, 2])
    np.subtract(along_y * x, along_x * y, out=columns[:, 3])
    columns[:, 4], columns[:, 5], columns[:, 6] = along_x, along_y, target.reshape(count, -1)
    columns *= root.reshape(count, 1, -1)
    products = (columns @ columns.transpose(0, 2, 1)).astype(np.float64)
    normal, right = products[:, :6, :6], products[:, :6, 6:]
    diagonal = np.arange(6)
    normal[:, diagonal, diagonal] += DAMPING * normal[:, diagonal, diagonal] + 1e-9
    solved = np.linalg.solve(normal, right)[..., 0]
    gain = solved[:, 1:2]
    # A reference that explains nothing, or only as its negative, says nothing about where it lies.
    change = np.where(gain > 1e-3, solved[:, 2:] / np.maximum(gain, 1e-3), 0.0)
    largest = np.array([LARGEST_TURN, LARGEST_TURN, LARGEST_MOVE, LARGEST_MOVE])
    return np.clip(change, -largest, largest).astype(np.float32)


def _gradient(images: Float, half: np.float32) -> tuple[Float, Float]:
    """Central differences (P, h * w) down and across, in units of half the shorter side; 0 on the border."""
    down, across = np.zeros_like(images), np.zeros_like(images)
    np.subtract(images[:, 2:], images[:, :-2], out=down[:, 1:-1])
    np.subtract(images[:, :, 2:], images[:, :, :-2], out=across[:, :, 1:-1])
    down *= half / 2
    across *= half / 2
    return down.reshape(len(images), -1), across.reshape(len(images), -1)


def _held(motion: Float) -> Float:
    """Scales held to `SCALES`."""
    scale = np.hypot(motion[:, 0], motion[:, 1])
    held = np.clip(scale, *SCALES) / np.maximum(scale, 1e-6)
    motion[:, :2] *= held[:, None]
    return motion
