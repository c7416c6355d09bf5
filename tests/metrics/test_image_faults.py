"""Gross faults planted in phantom slices."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.cohorts.phantom import COHORT_SEED, draw_cohort
from medgan_qa.cohorts.phantom_render import render
from medgan_qa.metrics._contour import longest_run
from medgan_qa.metrics.image_faults import FAULTS, NO_BODY, image_faults
from medgan_qa.metrics.joint_range import gross_failures
from medgan_qa.rng import child

Y, X = np.mgrid[:64, :64] - 31.5
ANGLE, RADIUS = np.degrees(np.arctan2(Y, X)), np.hypot(Y, X)


def slices(partition: str, patients: int) -> np.ndarray:
    return np.stack([render(spec, "FLAIR", 64) for spec in draw_cohort(COHORT_SEED, partition, patients)])


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    return image_faults(slices("test", 60))


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    return slices("train", 20)


def head() -> np.ndarray:
    """A bright ring of radius 22 to 25 round grey tissue of radius 19."""
    image = np.where(RADIUS <= 19, 0.5, 0.02)
    image[(RADIUS >= 22) & (RADIUS <= 25)] = 0.8
    return image


def measured(image: np.ndarray) -> dict[str, float]:
    return {name: float(value[0]) for name, value in image_faults(image[None]).items()}


# What each measure is


def test_measures_a_known_image() -> None:
    found = measured(head())
    assert found["body_components"] == 2
    assert found["holes"] == 1
    assert found["largest_component"] == pytest.approx(19**2 / (19**2 + 25**2 - 22**2), abs=0.02)
    assert found["body_share"] == pytest.approx(math.pi * 25**2 / 64**2, rel=0.03)
    assert found["levels"] == math.log2(3)
    assert found["contrast"] == pytest.approx(0.78)
    assert found["contour_gap"] == found["no_body"] == found["body_at_border"] == found["non_finite"] == 0
    assert found["at_maximum"] == pytest.approx(np.mean(head() == 0.8))
    assert found["contour_roughness"] < 0.02


@pytest.mark.parametrize("degrees", [20, 40])
def test_a_gap_in_the_outline_is_measured_in_degrees(degrees: int) -> None:
    image = head()
    image[(np.abs(ANGLE - 30) < degrees / 2) & (RADIUS > 20)] = 0.02
    assert measured(image)["contour_gap"] == pytest.approx(degrees, abs=8)


def test_a_ragged_outline_is_rough() -> None:
    ragged = np.where(24 + 2 * np.cos(np.radians(20 * ANGLE)) >= RADIUS, 0.6, 0.0)
    assert measured(ragged)["contour_roughness"] > 0.03
    assert measured(np.where(RADIUS <= 24, 0.6, 0.0))["contour_roughness"] < 0.02


def test_a_gap_across_the_zero_of_angles_is_one() -> None:
    assert longest_run(np.array([1, 1, 0, 1, 0, 1], bool)) == 3
    assert longest_run(np.zeros(5, bool)) == 0
    assert longest_run(np.ones(5, bool)) == 5


def test_a_body_cut_by_the_border() -> None:
    found = measured(np.roll(head(), -15, axis=0))
    assert found["body_at_border"] > 0.05
    assert measured(np.pad(head()[15:], ((0, 15), (0, 0)), constant_values=0.02))["body_at_border"] > 0.05


def test_a_bright_line_at_one_side() -> None:
    image = head()
    image[:, -1] = 0.5
    found = measured(image)
    assert found["frame_level"] == pytest.approx(0.5)
    assert found["frame_step"] == pytest.approx(0.48)
    assert found["border_edges"] > measured(head())["border_edges"] + 2


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_quantised_values_are_counted(clean: np.ndarray, bits: int) -> None:
    top = 2**bits - 1
    levels = image_faults(np.round(clean * top) / top)["levels"]
    assert (levels <= bits).all()
    assert (image_faults(clean)["levels"] > 11.5).all()


def test_clipping_makes_a_spike(clean: np.ndarray) -> None:
    high = clean.max(axis=(1, 2), keepdims=True)
    clipped = image_faults(np.minimum(clean, 0.6 * high))
    assert (clipped["spike_high"] > image_faults(clean)["spike_high"]).mean() > 0.8
    assert (clipped["at_maximum"] > 0.002).mean() > 0.9


def test_counts_pixels_that_are_not_finite_and_measures_the_rest(clean: np.ndarray) -> None:
    broken = clean[:1].copy()
    broken[0, 3, 3:6] = [np.nan, np.inf, -np.inf]
    found, whole = image_faults(broken), image_faults(clean[:1])
    assert found["non_finite"] == pytest.approx(3 / 64**2)
    for name in ("body_components", "contour_gap", "contrast", "spike_high"):
        assert found[name] == pytest.approx(whole[name], rel=0.01), name
    assert np.isfinite(list(found.values())).all()


def test_counts_pixels_out_of_range() -> None:
    assert measured(2 * head())["out_of_range"] == pytest.approx(np.mean(head() == 0.8))
    assert measured(np.minimum(head(), 1.0 + 1e-7))["out_of_range"] == 0


@pytest.mark.parametrize("image", [np.zeros((64, 64)), np.full((20, 33), 0.4), np.full((64, 64), np.nan)])
def test_without_a_body_the_measures_are_defined(image: np.ndarray) -> None:
    found = measured(image)
    assert {name: found[name] for name in NO_BODY} == NO_BODY
    assert np.isfinite(list(found.values())).all()


@pytest.mark.parametrize(
    "image",
    [
        np.eye(64),
        np.where((Y == 0.5) & (X == 0.5), 1.0, 0.0),
        np.where(Y == 0.5, 1.0, 0.0),
        np.where(Y > 0, 1.0, 0.0),
        child(0, "noise").random((64, 64)),
        np.indices((64, 64)).sum(axis=0) % 2.0,
        np.tile(np.arange(64) / 63, (64, 1)),
    ],
    ids=["diagonal", "pixel", "line", "half", "noise", "checkerboard", "ramp"],
)
def test_whatever_the_image_every_measure_is_finite(image: np.ndarray) -> None:
    found = measured(image)
    assert found.keys() == FAULTS.keys()
    assert np.isfinite(list(found.values())).all()
    assert 0 <= found["contour_gap"] <= 360


@given(st.sampled_from(["flipud", "fliplr", "T"]))
def test_prop_mirrors_measure_the_same(how: str) -> None:
    image = head() + child(1, "texture").normal(0, 0.02, (64, 64)).clip(-0.02)
    image[10:13, 20:30] = 0.3
    turned = image.T if how == "T" else getattr(np, how)(image)
    first, second = measured(image), measured(turned)
    assert {k: v for k, v in second.items() if not k.startswith("contour")} == pytest.approx(
        {k: v for k, v in first.items() if not k.startswith("contour")}
    )
    assert second["contour_roughness"] == pytest.approx(first["contour_roughness"], abs=0.005)


@pytest.mark.parametrize("shape", [(64, 64), (2, 15, 64), (1, 1, 64, 64)])
def test_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        image_faults(np.zeros(shape))


def test_no_images_give_an_empty_table() -> None:
    table = image_faults(np.zeros((0, 32, 32)))
    assert all(column.shape == (0,) for column in table.values())


# Faults against real images


def planted(name: str, images: np.ndarray) -> np.ndarray:
    x = images.copy()
    if name == "empty":
        return 0.02 * x
    if name == "constant":
        return np.full_like(x, 0.4)
    if name == "not finite":
        x[:, 5, 5] = np.nan
    elif name == "8 bits":
        return np.round(x * 255) / 255
    elif name == "clipped low":
        return np.maximum(x, 0.08)
    elif name == "bright frame":
        x[:, :, 0] = 0.6
    elif name == "shifted out":
        x = np.roll(x, -20, axis=1)
    elif name == "out of range":
        return 2.5 * x
    elif name == "contour gap":
        x[:, (np.abs(ANGLE - 20) < 15) & (RADIUS > 17)] *= 0.1
    elif name == "second object":
        x[:, (RADIUS > 28) & (np.abs(ANGLE - 45) < 8)] = 0.5
    return x


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("empty", "contrast"),
        ("constant", "no_body"),
        ("not finite", "non_finite"),
        ("8 bits", "levels"),
        ("clipped low", "at_minimum"),
        ("bright frame", "frame_step"),
        ("shifted out", "contour_roughness"),
        ("out of range", "out_of_range"),
        ("contour gap", "contour_gap"),
        ("second object", "contour_roughness"),
    ],
)
def test_finds_a_planted_fault(reference: dict[str, np.ndarray], clean: np.ndarray, name: str, measure: str) -> None:
    found = gross_failures(reference, image_faults(planted(name, clean)), FAULTS)
    assert found.flags.mean() >= 0.95
    assert np.mean([measure in names for names in found.measures]) > 0.8


@pytest.mark.parametrize("degrees", [10, 20, 90, 140])
def test_finds_a_gap_of_any_width(reference: dict[str, np.ndarray], clean: np.ndarray, degrees: int) -> None:
    gaps = clean.copy()
    gaps[:, (np.abs(ANGLE - 20) < degrees / 2) & (RADIUS > 17)] *= 0.1
    assert gross_failures(reference, image_faults(gaps), FAULTS).flags.mean() > 0.95


def test_does_not_flag_clean_slices(reference: dict[str, np.ndarray], clean: np.ndarray) -> None:
    found = gross_failures(reference, image_faults(clean), FAULTS)
    assert found.flags.sum() <= 2  # 40 slices at a rate of 1 %
    assert found.expected_rate == pytest.approx(1 / 121)
