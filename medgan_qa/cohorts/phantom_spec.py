"""Drawing phantom patients, slices and lesions: parameters only, nothing rendered.

A patient is an anatomy seed. Everything drawn here is plain data (it goes into the dataset digest and beside every case
of a Record), and `phantom_render` turns it into images. Drawing and rendering are two steps so that what was done to an
image is a query over recorded parameters and not a promise.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.cohorts.tissue import parenchyma_seats

SPEC_VERSION = 1
"""Raised whenever the same seed would draw or render another image."""

GRID = (3, 5, 5)
"""Control points (z, y, x) of the smooth deformation."""

SITES = {"A": 0.8, "B": 1.0, "C": 1.35}
"""Scanner sites and their noise relative to the contrast's table."""

LesionPlan = Literal["none", "one", "both"]
"""In how many of a patient's two slices the lesion is seen."""


@dataclass(frozen=True)
class LesionSpec:
    """One tumour with oedema, in template coordinates."""

    centre_mm: tuple[float, float, float]
    """(z, y, x)."""
    radius_mm: float
    """Mean radius of the oedema in its central slice."""
    core_share: float
    """Radius of the core as a share of the radius."""
    contrast: float
    """1 = the table's lesion intensity, 0 = invisible."""
    outline: tuple[tuple[float, float], ...]
    """Amplitude and phase of angular harmonics 2, 3, 4, 5 of the outline."""
    texture: float
    """Standard deviation of the texture inside, in unit range."""
    mass_effect: float
    """Share of the radius by which tissue at the rim is pushed outwards."""


@dataclass(frozen=True)
class PatientSpec:
    """One anatomy."""

    patient_id: str
    seed: int
    sex: str
    age_years: int
    site: str
    scale: tuple[float, float, float]
    rotation_deg: float
    shift_mm: tuple[float, float]
    warp_mm: tuple[tuple[tuple[tuple[float, float], ...], ...], ...]
    """Control points GRID of the in-plane displacement (y, x)."""
    ventricles: float
    """Relative widening of the ventricles."""
    atrophy: float
    """Share of the grey-fluid boundary that has turned to fluid."""
    lesion: LesionSpec | None


@dataclass(frozen=True)
class SliceSpec:
    """One slice of a patient, as acquired."""

    patient: PatientSpec
    index: int
    z_mm: float
    gain: dict[str, float]
    """Overall signal by contrast."""
    bias: tuple[float, float, float, float, float]
    """Coefficients of the receive field over (y, x, y*x, y*y, x*x), each in [-1, 1]."""

    @property
    def case_id(self) -> str:
        """Unique within a cohort."""
        return f"{self.patient.patient_id}-s{self.index}"

    def as_dict(self) -> dict[str, Any]:
        """Everything that was drawn, as JSON-able data."""
        return {"version": SPEC_VERSION, **asdict(self)}


def draw_lesion(seed: int, patient_id: str) -> LesionSpec:
    """Draw a tumour for a patient: 8 to 26 mm radius, seated in parenchyma away from the ventricles and the surface."""
    g = rng.child(seed, "lesion", patient_id)
    radius = float(np.exp(g.uniform(np.log(8.0), np.log(26.0))))
    seats = parenchyma_seats(3.0)
    seats = seats[(seats[:, 0] > 4.0) & (seats[:, 0] < 38.0)]
    centre = seats[g.integers(len(seats))]
    harmonics = tuple((float(g.normal(0, 0.16 / k)), float(g.uniform(0, 2 * np.pi))) for k in (2, 3, 4, 5))
    return LesionSpec(
        centre_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
        radius_mm=radius,
        core_share=float(g.uniform(0.35, 0.65)),
        contrast=float(g.uniform(0.7, 1.1)),
        outline=harmonics,
        texture=float(g.uniform(0.02, 0.05)),
        mass_effect=float(g.uniform(0.0, 0.3)),
    )


def draw_patient(seed: int, patient_id: str, *, lesion: bool) -> PatientSpec:
    """Draw an anatomy; age widens ventricles and sulci, sex shifts head size.

    The same seed and identifier give the same anatomy with and without a lesion.
    """
    g = rng.child(seed, "patient", patient_id)
    sex = "F" if g.random() < 0.5 else "M"
    age = int(np.clip(round(g.normal(55, 16)), 20, 88))
    size = g.normal(0.97 if sex == "F" else 1.02, 0.025)
    older = (age - 55) / 33
    # Patients lie a little turned; the field decays to the rim because it is smooth, not because it is clamped.
    warp = g.normal(0.0, 2.6, size=(*GRID, 2))
    return PatientSpec(
        patient_id=patient_id,
        seed=rng.child_seed(seed, "anatomy", patient_id),
        sex=sex,
        age_years=age,
        site=str(g.choice(list(SITES))),
        scale=(float(g.normal(1, 0.03)), float(size * g.normal(1, 0.02)), float(size * g.normal(1, 0.02))),
        rotation_deg=float(np.clip(g.normal(0, 4.5), -12, 12)),
        shift_mm=(float(g.normal(0, 2.5)), float(g.normal(0, 2.5))),
        warp_mm=_nested(warp),
        ventricles=float(np.clip(g.normal(0.12 + 0.16 * older, 0.10), -0.12, 0.45)),
        atrophy=float(np.clip(g.normal(0.25 + 0.3 * older, 0.1), 0.0, 0.7)),
        lesion=draw_lesion(seed, patient_id) if lesion else None,
    )


def _nested(warp: NDArray[np.float64]) -> Any:
    """The array as nested tuples, rounded to what JSON keeps short."""
    if warp.ndim == 1:
        return tuple(round(float(v), 4) for v in warp)
    return tuple(_nested(w) for w in warp)


def draw_slices(seed: int, patient: PatientSpec, plan: LesionPlan) -> list[SliceSpec]:
    """Draw two slices of a patient; `plan` says in how many of them the lesion is to be seen.

    Raises:
        ValueError: the plan asks for a lesion that the patient does not have, or for none where there is one.
    """
    if (plan == "none") != (patient.lesion is None):
        raise ValueError(
            f"plan {plan!r} does not fit a patient {'without' if patient.lesion is None else 'with'} a lesion"
        )
    g = rng.child(seed, "slices", patient.patient_id)
    return [_draw_slice(g, patient, index, _slice_level(g, patient.lesion, plan, index)) for index in (0, 1)]


def _slice_level(g: np.random.Generator, lesion: LesionSpec | None, plan: LesionPlan, index: int) -> float:
    if lesion is None:
        return float(g.uniform(2.0, 40.0))
    centre, reach = lesion.centre_mm[0], lesion.radius_mm
    if plan == "both" or index == 0:
        return float(np.clip(centre + g.uniform(-0.45, 0.45) * reach, 2.0, 40.0))
    # A slice clear of the lesion, on whichever side has room for it; 4 mm more than the outline's largest excursion.
    clear = 1.5 * reach + 4.0
    low, high = (2.0, centre - clear), (centre + clear, 40.0)
    room = [max(0.0, b - a) for a, b in (low, high)]
    if sum(room) == 0.0:
        # Beyond the slab, whose end then stands in; far enough for any head's height.
        beyond = 1.15 * reach + 3.0
        return float(min(-4.0, centre - beyond) if centre > 21.0 else max(46.0, centre + beyond))
    a, b = low if g.random() < room[0] / sum(room) else high
    return float(g.uniform(a, b))


def _draw_slice(g: np.random.Generator, patient: PatientSpec, index: int, z_mm: float) -> SliceSpec:
    return SliceSpec(
        patient=patient,
        index=index,
        z_mm=z_mm,
        gain={name: float(np.clip(g.normal(1, 0.04), 0.9, 1.1)) for name in ("T1", "T2", "FLAIR", "CT")},
        bias=tuple(float(b) for b in g.uniform(-1, 1, 5)),  # type: ignore[arg-type]  # five by construction
    )
