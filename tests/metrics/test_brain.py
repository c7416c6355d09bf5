"""Measured anatomy of heads against the phantom's exact tissue fractions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from medgan_qa.cohorts.phantom import COHORT_SEED, draw_cohort
from medgan_qa.cohorts.phantom_render import anatomy, pixel_mm, render
from medgan_qa.metrics.anatomy import measure_all
from medgan_qa.metrics.brain import BRAIN, brain
from medgan_qa.metrics.distributions import distribution_distance

SIZE = 64
MM = pixel_mm(SIZE)
SPACING = (MM, MM)
Y, X = np.mgrid[:64, :64].astype(float)


def depth(mask: np.ndarray) -> np.ndarray:
    return ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]


@pytest.fixture(scope="module")
def phantoms() -> dict[str, Any]:
    """Slices of 40 patients with the exact areas in mm2 that they were rendered from."""
    found: dict[str, list[Any]] = {k: [] for k in ("FLAIR", "T1", "head", "brain", "fluid", "lesion", "rotation")}
    for spec in draw_cohort(COHORT_SEED, "test", 40):
        scene = anatomy(spec, SIZE)
        within = depth(ndimage.binary_fill_holes(scene.tissue[..., :3].sum(axis=-1) > 0.5))
        central = within > 0.3 * within.max()
        found["FLAIR"].append(render(spec, "FLAIR", SIZE, scene))
        found["T1"].append(render(spec, "T1", SIZE, scene))
        found["head"].append(scene.tissue.sum() * MM**2)
        found["brain"].append(scene.tissue[..., :2].sum() * MM**2)
        found["fluid"].append(scene.tissue[..., 2][central].sum() * MM**2)
        found["lesion"].append(scene.mask.sum() * MM**2)
        found["rotation"].append(spec.patient.rotation_deg)
    return {name: np.array(values) for name, values in found.items()}


@pytest.fixture(scope="module")
def measured(phantoms: dict[str, Any]) -> dict[str, dict[str, np.ndarray]]:
    return {contrast: measure_all(phantoms[contrast], brain, SPACING) for contrast in ("FLAIR", "T1")}


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


@pytest.mark.parametrize(
    ("contrast", "measure", "truth", "least"),
    [
        ("FLAIR", "head_area", "head", 0.99),
        ("T1", "head_area", "head", 0.99),
        ("FLAIR", "brain_area", "brain", 0.98),
        ("T1", "brain_area", "brain", 0.94),
        ("FLAIR", "central_fluid_area", "fluid", 0.95),
        ("T1", "central_fluid_area", "fluid", 0.9),
    ],
)
def test_follows_the_exact_areas(
    phantoms: dict[str, Any], measured: dict[str, Any], contrast: str, measure: str, truth: str, least: float
) -> None:
    assert correlation(measured[contrast][measure], phantoms[truth]) > least


@pytest.mark.parametrize("contrast", ["FLAIR", "T1"])
def test_brain_area_has_little_bias(phantoms: dict[str, Any], measured: dict[str, Any], contrast: str) -> None:
    ratio = measured[contrast]["brain_area"] / phantoms["brain"]
    assert ratio.mean() == pytest.approx(1.0, abs=0.1)
    assert ratio.std() < 0.06


def test_counts_lesions_in_flair(phantoms: dict[str, Any], measured: dict[str, Any]) -> None:
    blobs = measured["FLAIR"]["bright_blobs"]
    assert (blobs[phantoms["lesion"] == 0] == 0).all()
    assert (blobs[phantoms["lesion"] > 150] == 1).mean() > 0.9
    assert correlation(measured["FLAIR"]["bright_area"], phantoms["lesion"]) > 0.97


def test_wider_ventricles_are_seen(phantoms: dict[str, Any], measured: dict[str, Any]) -> None:
    # the dark middle of every slice grown to an ellipse of 16 x 30 mm
    widened = phantoms["FLAIR"].copy()
    widened[:, ((Y - 31.5) * MM / 30) ** 2 + ((X - 31.5) * MM / 16) ** 2 <= 1] = 0.08
    found = measure_all(widened, brain, SPACING)
    assert (found["central_fluid_area"] > measured["FLAIR"]["central_fluid_area"] + 600).mean() > 0.9
    distance = distribution_distance(measured["FLAIR"]["central_fluid_share"], found["central_fluid_share"])
    assert distance.kolmogorov_smirnov > 0.6
    assert distance.wasserstein > 1.5


def test_the_midline_turns_with_the_head(phantoms: dict[str, Any], measured: dict[str, Any]) -> None:
    turned = np.stack([ndimage.rotate(image, 10, reshape=False, order=1) for image in phantoms["FLAIR"]])
    change = measure_all(turned, brain, SPACING)["midline_angle"] - measured["FLAIR"]["midline_angle"]
    assert np.median(np.abs(change)) == pytest.approx(10, abs=1)
    assert abs(correlation(measured["FLAIR"]["midline_angle"], phantoms["rotation"])) > 0.6


def test_a_head_with_two_unequal_halves_is_asymmetric(phantoms: dict[str, Any], measured: dict[str, Any]) -> None:
    dark = phantoms["FLAIR"] * np.where(X > 31.5, 0.6, 1.0)
    assert (measure_all(dark, brain, SPACING)["intensity_asymmetry"] > measured["FLAIR"]["intensity_asymmetry"]).all()


@pytest.mark.parametrize("degrees", [20, 40])
def test_a_gap_in_the_bright_ring(phantoms: dict[str, Any], measured: dict[str, Any], degrees: int) -> None:
    angle, radius = np.degrees(np.arctan2(Y - 31.5, X - 31.5)), np.hypot(Y - 31.5, X - 31.5)
    broken = phantoms["FLAIR"].copy()
    broken[:, (np.abs(angle - 20) < degrees / 2) & (radius > 17)] *= 0.1
    found = measure_all(broken, brain, SPACING)["ring_gap"]
    assert np.median(found) == pytest.approx(degrees, abs=6)
    assert np.quantile(measured["FLAIR"]["ring_gap"], 0.95) <= 8


def circle() -> np.ndarray:
    radius = np.hypot(Y - 31.5, X - 31.5)
    image = np.where(radius <= 19, 0.5, 0.02) + np.where((radius >= 22) & (radius <= 25), 0.8, 0.0)
    image[radius <= 5] = 0.02
    return image


def test_areas_scale_with_the_spacing() -> None:
    once, twice = brain(circle(), (1.0, 1.0)), brain(circle(), (2.0, 2.0))
    assert once["head_area"] == pytest.approx(np.pi * 25**2, rel=0.02)
    assert once["brain_area"] == pytest.approx(np.pi * (19**2 - 5**2), rel=0.03)
    assert once["central_fluid_area"] == pytest.approx(np.pi * 5**2, rel=0.1)
    for name, quantity in BRAIN.items():
        if name != "ring_gap":
            assert twice[name] == pytest.approx(once[name] * (4 if quantity.unit == "mm2" else 1)), name


def test_a_circle_is_symmetric_and_round() -> None:
    found = brain(circle(), (1.0, 1.0))
    assert found["head_asymmetry"] == found["ring_gap"] == found["bright_blobs"] == found["no_body"] == 0
    assert found["eccentricity"] < 0.05
    assert found["components"] == 2
    assert found["holes"] == 2


def test_anisotropic_pixels_measure_the_same_head(phantoms: dict[str, Any]) -> None:
    image = phantoms["FLAIR"][0]
    once, stretched = brain(image, SPACING), brain(np.repeat(image, 2, axis=0), (MM / 2, MM))
    for name in ("head_area", "brain_area", "midline_angle", "eccentricity"):
        assert stretched[name] == pytest.approx(once[name], rel=0.05), name
