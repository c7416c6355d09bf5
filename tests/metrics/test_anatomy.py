"""Measured anatomy of drawn torsos, and of images that hold none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from medgan_qa.metrics.anatomy import GENERIC, MEASURES, components_of_mask, generic, measure_all, segmented
from medgan_qa.metrics.brain import brain
from medgan_qa.metrics.joint_range import gross_failures
from medgan_qa.rng import child

Y, X = np.mgrid[:64, :64].astype(float)


def circle() -> np.ndarray:
    radius = np.hypot(Y - 31.5, X - 31.5)
    image = np.where(radius <= 19, 0.5, 0.02) + np.where((radius >= 22) & (radius <= 25), 0.8, 0.0)
    image[radius <= 5] = 0.02
    return image


def ellipse(cy: float, cx: float, ry: float, rx: float) -> np.ndarray:
    return ((Y - cy) / ry) ** 2 + ((X - cx) / rx) ** 2 <= 1


def torso(number: int, kidneys: int = 2, gap: float = 0.0) -> np.ndarray:
    """Body, six ribs (one with a gap of 2 `gap` degrees), spine and kidneys, a little different for each number."""
    g = child(number, "torso")
    scale = 1 + g.normal(0, 0.03)
    image = np.where(ellipse(32, 32, 22 * scale, 29 * scale), 0.4 + g.normal(0, 0.015), 0.0)
    ring = np.abs(np.hypot((Y - 32) / (18 * scale), (X - 32) / (25 * scale)) - 1) < 0.055
    angle, turn = np.degrees(np.arctan2(Y - 32, X - 32)), g.normal(0, 3)
    for rib, centre in enumerate((-150, -112, -68, -30, 10, 170)):
        off = np.abs((angle - centre - turn + 180) % 360 - 180)
        image[ring & (off < 14) & (off >= (gap if rib == 2 else 0))] = 0.9
    image[ellipse(45 + g.normal(0, 0.7), 32 + g.normal(0, 0.7), 4.5, 4.5)] = 0.9
    for cy, cx in [(38, 19), (38, 45), (24, 32)][:kidneys]:
        shape = (5 + g.normal(0, 0.3), 3.5 + g.normal(0, 0.2))
        image[ellipse(cy + g.normal(0, 0.8), cx + g.normal(0, 0.8), *shape)] = 0.65 + g.normal(0, 0.01)
    return np.clip(ndimage.gaussian_filter(image, 0.6) + g.normal(0, 0.015, image.shape), 0, 1)


def torsos(first: int, n: int, **plan: float) -> dict[str, np.ndarray]:
    return measure_all(np.stack([torso(first + i, **plan) for i in range(n)]), generic, (2.0, 2.0))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def real_torsos() -> dict[str, np.ndarray]:
    return torsos(0, 150)


@pytest.mark.parametrize(
    ("plan", "measure", "least"),
    [({"kidneys": 3}, "components_2", 0.85), ({"gap": 4.0}, "components_2", 0.5), ({"gap": 7.0}, "components_2", 0.9)],
    ids=["three kidneys", "a rib with a narrow gap", "a broken rib"],
)
def test_finds_impossible_torsos(
    real_torsos: dict[str, np.ndarray], plan: dict[str, float], measure: str, least: float
) -> None:
    found = gross_failures(real_torsos, torsos(1000, 30, **plan), GENERIC)
    assert found.flags.mean() >= least
    assert np.mean([measure in names for names in found.measures]) > 0.5


def test_leaves_possible_torsos_alone(real_torsos: dict[str, np.ndarray]) -> None:
    assert gross_failures(real_torsos, torsos(2000, 60), GENERIC).flags.sum() <= 2


def test_counts_parts_at_each_level() -> None:
    image = np.where(ellipse(32, 32, 28, 28), 0.3, 0.0)
    image[ellipse(32, 20, 6, 3)] = image[ellipse(32, 44, 6, 3)] = 0.6
    image[ellipse(50, 32, 3, 3)] = 0.95
    found = generic(image, (1.0, 1.0))
    assert [found[f"components_{level}"] for level in (1, 2, 3)] == [1, 3, 1]
    assert [found[f"euler_{level}"] for level in (1, 2, 3)] == [1, 3, 1]
    assert found["share_1"] == pytest.approx(np.pi * 28**2 / 64**2, rel=0.05)
    assert found["elongation_1"] == pytest.approx(1.0, abs=0.01)
    assert generic(image, (1.0, 2.0))["elongation_1"] == pytest.approx(2.0, abs=0.02)


def test_a_hole_lowers_the_euler_number() -> None:
    ring = np.where(ellipse(32, 32, 25, 25) & ~ellipse(32, 32, 12, 12), 0.8, 0.0)
    found = generic(ring, (1.0, 1.0))
    assert [found[f"euler_{level}"] for level in (1, 2, 3)] == [0, 0, 0]


@pytest.mark.parametrize("values", [2, 3, 4, 5])
def test_few_distinct_values_have_thresholds(values: int) -> None:
    steps = np.repeat(np.arange(values), 12)
    found = generic(np.tile(steps / values, (40, 1)), (1.0, 1.0))
    assert found["components_1"] == 1
    assert found["share_1"] >= found["share_2"] >= found["share_3"] > 0


# Undefined anatomy


@pytest.mark.parametrize("name", ["brain", "generic"])
@pytest.mark.parametrize("image", [np.zeros((64, 64)), np.full((32, 40), 0.7)])
def test_a_constant_image_has_no_body(name: str, image: np.ndarray) -> None:
    measure, quantities = MEASURES[name]
    assert measure(image, (1.0, 1.0)) == {key: float(key == "no_body") for key in quantities}


@pytest.mark.parametrize(
    "image",
    [
        np.eye(64),
        np.where((Y == 30) & (X == 30), 1.0, 0.0),
        np.where(Y == 30, 1.0, 0.0),
        np.where(Y > 31, 1.0, 0.0),
        child(0, "noise").random((64, 64)),
        np.where(ellipse(32, 32, 25, 25), 0.5, 0.0),
        np.where(ellipse(32, 32, 25, 25), 1 - np.hypot(Y - 32, X - 32) / 50, 0.0),
        1 - circle(),
        -circle(),
    ],
    ids=["diagonal", "pixel", "line", "half", "noise", "disc", "cone", "inverted", "negative"],
)
@pytest.mark.parametrize("name", sorted(MEASURES))
def test_whatever_the_image_every_measure_is_finite(name: str, image: np.ndarray) -> None:
    measure, quantities = MEASURES[name]
    found = measure(image, (1.0, 1.5))
    assert list(found) == list(quantities)
    assert np.isfinite(list(found.values())).all()


@given(st.sampled_from(["flipud", "fliplr"]))
def test_prop_mirrors_measure_the_same(how: str) -> None:
    image = torso(3)
    first, second = generic(image, (1.0, 2.0)), generic(getattr(np, how)(image), (1.0, 2.0))
    assert second == pytest.approx(first)
    head, mirrored = brain(circle(), (1.0, 1.0)), brain(getattr(np, how)(circle()), (1.0, 1.0))
    for name in ("head_area", "brain_area", "central_fluid_area", "components", "holes"):
        assert mirrored[name] == pytest.approx(head[name]), name


# Tables and masks


def test_a_table_has_one_column_a_measure() -> None:
    table = measure_all(np.stack([torso(1), torso(2)]), lambda image, _: {"mean": float(image.mean())}, (1.0, 1.0))
    assert {name: column.shape for name, column in table.items()} == {"mean": (2,)}
    assert table["mean"] == pytest.approx([torso(1).mean(), torso(2).mean()])


@pytest.mark.parametrize(
    ("images", "measure", "message"),
    [
        (np.zeros((4, 4)), generic, "shape"),
        (np.zeros((0, 20, 20)), generic, "N >= 1"),
        (np.full((1, 20, 20), np.nan), generic, "image 0"),
        (np.zeros((1, 15, 20)), generic, "16 pixels"),
        (np.zeros((1, 15, 20)), brain, "16 pixels"),
        (np.zeros((2, 20, 20)), lambda _image, _spacing: {"a": float("nan")}, "finite"),
        (np.stack([np.zeros((2, 2)), np.ones((2, 2))]), lambda image, _: {str(image[0, 0]): 1.0}, "names"),
    ],
)
def test_refuses_what_gives_no_table(images: np.ndarray, measure: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure_all(images, measure, (1.0, 1.0))


def test_counts_the_components_of_a_mask() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2:5, 2:5] = mask[10, 10] = mask[11, 11] = mask[15, 3] = True
    found = components_of_mask(mask, (2.0, 0.5))
    assert found.count == 3
    assert found.areas_mm2.tolist() == [9, 2, 1]
    assert components_of_mask(mask, (1.0, 1.0), smallest_px=2).count == 2
    assert segmented(mask, (2.0, 0.5)) == {"components": 3, "largest_area": 9, "total_area": 12}


def test_an_empty_mask_has_no_components() -> None:
    found = components_of_mask(np.zeros((5, 5), bool), (1.0, 1.0))
    assert (found.count, found.areas_mm2.size) == (0, 0)
    assert segmented(np.zeros((5, 5)), (1.0, 1.0)) == {"components": 0, "largest_area": 0, "total_area": 0}


def test_refuses_scores_for_a_mask() -> None:
    with pytest.raises(TypeError, match="bool"):
        components_of_mask(np.zeros((5, 5)), (1.0, 1.0))
    with pytest.raises(ValueError, match="smallest_px"):
        components_of_mask(np.zeros((5, 5), bool), (1.0, 1.0), smallest_px=0)
