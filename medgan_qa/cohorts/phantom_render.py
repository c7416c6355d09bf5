"""Rendering phantom slices: a specification in, exactly paired contrasts and an exact lesion mask out.

The recipe is SynthSeg's (Billot et al. 2023, Medical Image Analysis 86:102789): tissue fractions, a smooth deformation,
an intensity per tissue, a smooth bias field, noise. Coordinates are pulled back: each output pixel asks where in the
template it comes from. All randomness is drawn from the specification's seed, so an image depends on nothing but its
specification, the contrast and the size.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.cohorts.contrasts import CONTRASTS, Contrast
from medgan_qa.cohorts.phantom_spec import GRID, SITES, LesionSpec, PatientSpec, SliceSpec
from medgan_qa.cohorts.tissue import brain_tissue, prefiltered

FIELD_OF_VIEW_MM = 224.0
VENTRICLES_MM = (-12.0, 0.0)
"""Centre (y, x) that the ventricles widen from, in template coordinates."""
VENTRICLE_REACH_MM = 26.0
OUTLINE_ROUGHNESS = 0.13
"""Standard deviation of the lesion's outline about its smooth shape, as a share of the radius."""

Float = NDArray[np.float32]


class Anatomy(NamedTuple):
    """A slice before any contrast: what is where."""

    tissue: Float
    """(H, W, 5) fractions of white, grey, csf, skull, scalp."""
    oedema: Float
    """(H, W) share of the pixel that is lesion (core included), in [0, 1]."""
    core: Float
    """(H, W) share of the pixel that is tumour core."""
    mask: NDArray[np.bool_]
    """(H, W) lesion: pixels of which at least half is lesion."""


def pixel_mm(size: int) -> float:
    """Pixel spacing of a `size` x `size` image, in mm."""
    return FIELD_OF_VIEW_MM / size


@cache
def _grid(size: int) -> tuple[Float, Float, Float]:
    """Pixel centres (y, x) in mm from the middle of the image, and the same axis in [-1, 1]."""
    axis = ((np.arange(size) - (size - 1) / 2) * pixel_mm(size)).astype(np.float32)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return y, x, (axis / (FIELD_OF_VIEW_MM / 2)).astype(np.float32)


@cache
def _spline(size: int, points: int) -> Float:
    """(size, points) uniform cubic B-spline weights over the field of view."""
    t = np.linspace(0.5, points - 1.5, size)[:, None] - np.arange(points)[None, :]
    a = np.abs(t)
    weights: NDArray[np.float64] = np.where(a < 1, 2 / 3 - a**2 + a**3 / 2, np.where(a < 2, (2 - a) ** 3 / 6, 0.0))
    rows: Float = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return rows


def _template_coordinates(patient: PatientSpec, z_mm: float, size: int) -> tuple[Float, Float, float]:
    """Where each pixel comes from in the template: (y, x) in mm and the slice's z in mm."""
    y, x, _ = _grid(size)
    angle = np.float32(np.deg2rad(patient.rotation_deg))
    cos, sin = np.cos(angle), np.sin(angle)
    y0, x0 = y - np.float32(patient.shift_mm[0]), x - np.float32(patient.shift_mm[1])
    qy = (cos * y0 - sin * x0) / np.float32(patient.scale[1])
    qx = (sin * y0 + cos * x0) / np.float32(patient.scale[2])
    tissue = brain_tissue()
    depth = (z_mm - tissue.z_mm[0]) / (tissue.z_mm[-1] - tissue.z_mm[0])
    # Weights of the control planes at this depth: neighbouring slices of one patient deform alike.
    planes = np.clip(1 - np.abs(depth * (GRID[0] - 1) - np.arange(GRID[0])), 0, 1)
    control = np.tensordot(planes, np.asarray(patient.warp_mm), axes=1).astype(np.float32)
    by, bx = _spline(size, GRID[1]), _spline(size, GRID[2])
    qy = qy + by @ control[..., 0] @ bx.T
    qx = qx + by @ control[..., 1] @ bx.T
    # Every adult brain is twisted a little (right frontal, left occipital petalia): left and right can be told apart.
    qy = qy + np.float32(2.5) * np.tanh(qx / np.float32(30.0))
    centre_z = float(tissue.z_mm.mean())
    return qy, qx, centre_z + (z_mm - centre_z) / patient.scale[0]


def _lesion_level(lesion: LesionSpec, qy: Float, qx: Float, z_mm: float) -> tuple[Float, float]:
    """Distance in mm inside the outline of this slice (negative outside), and the slice's radius."""
    dz = z_mm - lesion.centre_mm[0]
    radius = float(np.sqrt(max(lesion.radius_mm**2 - dz**2, 0.0)))
    dy, dx = qy - np.float32(lesion.centre_mm[1]), qx - np.float32(lesion.centre_mm[2])
    theta = np.arctan2(dy, dx)
    outline = np.ones_like(theta)
    for k, (amplitude, phase) in zip((2, 3, 4, 5), lesion.outline, strict=True):
        outline += np.float32(amplitude) * np.cos(k * theta + np.float32(phase))
    return np.float32(radius) * outline - np.hypot(dy, dx), radius


def _push(qy: Float, qx: Float, centre: tuple[float, float], amount: float, reach: float) -> tuple[Float, Float]:
    """Move tissue outwards from `centre` by sampling nearer to it."""
    dy, dx = qy - np.float32(centre[0]), qx - np.float32(centre[1])
    factor = np.float32(amount) * np.exp(-(dy * dy + dx * dx) / np.float32(2 * reach * reach))
    return qy - factor * dy, qx - factor * dx


def _sample(volume: Float, z_mm: float, qy: Float, qx: Float) -> Float:
    """Trilinear interpolation of (Z, Y, X, C) at one z; zero outside."""
    tissue = brain_tissue()
    depth, height, width, _ = volume.shape
    k = float(np.clip((z_mm - tissue.z_mm[0]) / tissue.spacing_mm[0], 0, depth - 1.001))
    plane = volume[int(k)] * np.float32(1 - k % 1) + volume[int(k) + 1] * np.float32(k % 1)
    i = np.clip(qy / np.float32(tissue.spacing_mm[1]) + np.float32((height - 1) / 2), 0, height - 1.001)
    j = np.clip(qx / np.float32(tissue.spacing_mm[2]) + np.float32((width - 1) / 2), 0, width - 1.001)
    i0, j0 = np.floor(i), np.floor(j)
    fi, fj = (i - i0)[..., None], (j - j0)[..., None]
    flat, first = plane.reshape(-1, plane.shape[-1]), i0.astype(np.int32) * width + j0.astype(np.int32)
    top = flat[first] * (1 - fj) + flat[first + 1] * fj
    bottom = flat[first + width] * (1 - fj) + flat[first + width + 1] * fj
    sampled: Float = top * (1 - fi) + bottom * fi
    return sampled


def anatomy(spec: SliceSpec, size: int) -> Anatomy:
    """Deform the template for one slice and put its lesion in.

    Args:
        spec: the slice.
        size: pixels along each side; the field of view is always 224 mm.
    """
    patient, lesion = spec.patient, spec.patient.lesion
    qy, qx, z = _template_coordinates(patient, spec.z_mm, size)
    level = np.full((size, size), -np.inf, np.float32)
    radius = 0.0
    if lesion is not None:
        level, radius = _lesion_level(lesion, qy, qx, z)
        if radius > 0:
            ragged = _texture(rng.child(patient.seed, "outline", spec.index), size)
            level = level + np.float32(OUTLINE_ROUGHNESS * radius) * ragged
            qy, qx = _push(qy, qx, lesion.centre_mm[1:], lesion.mass_effect, radius)
    qy, qx = _push(qy, qx, VENTRICLES_MM, patient.ventricles, VENTRICLE_REACH_MM)
    tissue = _sample(prefiltered(pixel_mm(size)), z, qy, qx)
    lost = (
        np.float32(4 * patient.atrophy)
        * tissue[..., 1]
        * tissue[..., 2]
        * (tissue[..., 1] / (tissue[..., :2].sum(-1) + 1e-3))
    )
    lost = np.minimum(lost, tissue[..., 1])
    tissue[..., 1] -= lost
    tissue[..., 2] += lost
    zero = np.zeros((size, size), np.float32)
    if lesion is None or radius == 0.0:
        return Anatomy(tissue, zero, zero, zero.astype(bool))
    # The lesion infiltrates tissue and not the fluid over the convexity or the bone.
    room = np.clip(tissue[..., :2].sum(-1) + np.float32(0.35), 0, 1) * (tissue[..., 3] + tissue[..., 4] < 0.2)
    soft = np.float32(pixel_mm(size))
    oedema = np.clip(level / soft + np.float32(0.5), 0, 1) * room
    inner = level - np.float32(radius * (1 - lesion.core_share))
    core = np.clip(inner / soft + np.float32(0.5), 0, 1) * room
    return Anatomy(tissue, oedema, core, oedema >= 0.5)


def _texture(g: np.random.Generator, size: int) -> Float:
    """Smooth unit-variance noise with features of about 5 mm, by spline interpolation of white noise."""
    points = int(FIELD_OF_VIEW_MM / 4.5)
    basis = _spline(size, points)
    white = g.standard_normal((points, points), dtype=np.float32)
    # In blocks small enough for one thread: waking a second one costs more than these products take.
    blocks = [basis[k : k + 64] for k in range(0, size, 64)]
    field = np.block([[rows @ white @ columns.T for columns in blocks] for rows in blocks])
    # The spline weights leave white noise a standard deviation of 0.48.
    unit: Float = (field / np.float32(0.48)).astype(np.float32)
    return unit


def _signal(anatomy: Anatomy, table: Contrast, lesion: LesionSpec | None, texture: Float) -> Float:
    """Noise-free intensity, without receive field."""
    means = np.array(table[:5], np.float32)
    image: Float = anatomy.tissue @ means
    parenchyma = anatomy.tissue[..., 0] + anatomy.tissue[..., 1]
    image = image * (1 + np.float32(0.035) * texture * parenchyma)
    if lesion is None:
        return image
    normal, c = np.float32(table.white), np.float32(lesion.contrast)
    rough = np.float32(lesion.texture) * texture
    oedema = normal + c * (np.float32(table.oedema) - normal) + rough
    core = normal + c * (np.float32(table.core) - normal) + rough
    image = image * (1 - anatomy.oedema) + oedema * anatomy.oedema
    return image * (1 - anatomy.core) + core * anatomy.core


def render(spec: SliceSpec, contrast: str, size: int, shared: Anatomy | None = None) -> Float:
    """One slice in one contrast.

    Args:
        spec: the slice.
        contrast: a key of `CONTRASTS`.
        size: pixels along each side.
        shared: the slice's `anatomy`, where it was already made for another contrast.

    Returns:
        (H, W) float32 in [0, 1]; noise is Rician (Gudbjartsson and Patz 1995, Magn. Reson. Med. 34:910-914).
    """
    table = CONTRASTS[contrast]
    scene = shared if shared is not None else anatomy(spec, size)
    patient = spec.patient
    texture = _texture(rng.child(patient.seed, "texture", spec.index), size)
    image = _signal(scene, table, patient.lesion, texture)
    _, _, u = _grid(size)
    y, x = u[:, None], u[None, :]
    b = np.array(spec.bias, np.float32)
    # The receive coil is the same in every sequence of a session, so contrasts share the field.
    field = 1 + np.float32(table.bias / 2) * (b[0] * y + b[1] * x + b[2] * y * x + b[3] * y * y + b[4] * x * x)
    image = image * field * np.float32(spec.gain[contrast])
    sigma = np.float32(table.noise * SITES[patient.site])
    noise = rng.child(patient.seed, "noise", contrast, spec.index).standard_normal((2, size, size), dtype=np.float32)
    noisy = np.hypot(image + sigma * noise[0], sigma * noise[1])
    clipped: Float = np.clip(noisy, 0, 1)
    return clipped


def render_pair(spec: SliceSpec, source: str, target: str, size: int) -> tuple[Float, Float, NDArray[np.bool_]]:
    """A slice in two contrasts with its lesion mask: (H, W), (H, W), (H, W) bool."""
    scene = anatomy(spec, size)
    return render(spec, source, size, scene), render(spec, target, size, scene), scene.mask
