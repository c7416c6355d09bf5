"""Placement, boundaries and outlines on images whose geometry is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.controls.geometry import Displace, Distort, Flip, SquareLesions, Warp, Wrap
from medgan_qa.metrics.geometry import placement
from medgan_qa.metrics.outlines import (
    boundary_agreement,
    edges,
    lesion_outlines,
    outline_change,
)
from medgan_qa.metrics.phase_shift import best_shift, refined_peak, structure_field
from medgan_qa.rng import child

SIZE = 128
COHORT = BrainPhantoms(size=SIZE, people=4)
PAIRS = [COHORT.load(case) for case in COHORT.cases]
MM = PAIRS[0].spacing_mm[0]
Y, X = np.mgrid[:96, :96].astype(float)


def real(k: int = 0) -> np.ndarray:
    return PAIRS[k].target[0]


def planted(defect, k: int = 0, seed: int = 0) -> np.ndarray:
    return defect.apply(real(k), PAIRS[k].lesion_mask, child(seed, "test", str(k)))


def fourier_shifted(image: np.ndarray, rows: float, columns: float) -> np.ndarray:
    """The oracle of sub-pixel shifts: exact for a band-limited periodic image."""
    return np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(image), (rows, columns))).real


def blobs(seed: int) -> np.ndarray:
    noise = ndimage.gaussian_filter(child(seed, "blobs").standard_normal((96, 96)), 3, mode="wrap")
    return noise * np.exp(-((Y - 48) ** 2 + (X - 48) ** 2) / (2 * 20**2))


def test_field_does_not_change_with_gain_offset_and_sign():
    image = real()
    assert np.allclose(structure_field(image), structure_field(3 - 2 * image), atol=1e-4)
    assert not structure_field(np.full((40, 40), 0.3)).any()


@given(rows=st.floats(-9, 9), columns=st.floats(-9, 9), seed=st.integers(0, 50))
@settings(max_examples=25)
def test_property_a_shift_is_found_to_a_tenth_of_a_pixel(rows, columns, seed):
    image = blobs(seed)
    found = placement(fourier_shifted(image, rows, columns), image)

    assert found.displacement_mm == pytest.approx((rows, columns), abs=0.12)
    assert found.flipped is not True


@given(rows=st.integers(0, 127), columns=st.integers(0, 127), k=st.integers(0, 7))
@settings(max_examples=20)
def test_property_any_cyclic_shift_is_found(rows, columns, k):
    shift = best_shift(structure_field(np.roll(real(k), (rows, columns), (0, 1))), structure_field(real(k)))

    assert (shift.pixels[0] - rows) % SIZE == 0
    assert (shift.pixels[1] - columns) % SIZE == 0
    assert shift.code == 0


def test_spacing_is_used_on_its_own_axis():
    moved = np.roll(real(), (3, -4), (0, 1))
    assert placement(moved, real(), (2.0, 0.5)).displacement_mm == pytest.approx((6.0, -2.0), abs=0.05)


@pytest.mark.parametrize("against", ["target", "image"])
@pytest.mark.parametrize("millimetres", [3.0, 6.0, 10.0])
def test_displacements_are_measured_in_both_contrasts(millimetres, against):
    for k in range(4):
        found = placement(planted(Displace(millimetres, MM), k), getattr(PAIRS[k], against)[0], (MM, MM))
        assert found.distance_mm == pytest.approx(millimetres, abs=0.25)
        assert found.flipped is False
        assert not found.shift.wrapped


@pytest.mark.parametrize("against", ["target", "image"])
@pytest.mark.parametrize(("axes", "name"), [((1,), "flip left-right"), ((0,), "flip up-down"), ((0, 1), "rotate 180")])
def test_flips_are_named(axes, name, against):
    found = [placement(planted(Flip(axes), k), getattr(PAIRS[k], against)[0], (MM, MM)) for k in range(8)]
    names = [p.shift.name for p in found]
    assert names.count(name) >= 7
    assert all(name in n for n in names)
    assert np.median([p.distance_mm for p in found]) < 0.1


@pytest.mark.parametrize("scale", [0.9, 1.03, 1.1, 1.25])
def test_scale_is_measured_about_any_centre(scale):
    found = [placement(planted(Distort(scale), k), real(k), (MM, MM)) for k in range(4)]
    assert [p.scale for p in found] == pytest.approx([scale] * 4, abs=0.005)


def test_anisotropic_pixels_do_not_turn_a_scale_into_a_shear():
    found = placement(planted(Distort(1.1)), real(), (1.0, 2.0))
    assert found.scale == pytest.approx(1.1, abs=0.005)
    assert found.shear == pytest.approx(0.0, abs=0.01)


def test_rotation_has_its_sign():
    turned = ndimage.rotate(real(), 4.0, reshape=False, order=1)
    found = placement(turned, real())
    assert found.rotation_deg == pytest.approx(4.0, abs=0.4)
    assert found.flipped is not True


def test_shear_and_warp_are_deformation_and_a_shift_is_not():
    sheared = placement(planted(Distort(shear=0.08)), real(), (MM, MM))
    assert sheared.shear == pytest.approx(0.083, abs=0.01)
    assert sheared.windows.deformation_mm > 3
    for k in range(4):
        assert placement(planted(Warp(5.0, MM), k), real(k), (MM, MM)).windows.deformation_mm > 3
        assert placement(planted(Displace(6.0, MM), k), real(k), (MM, MM)).windows.deformation_mm < 1


def test_a_mirror_image_of_a_symmetric_anatomy_is_not_guessed():
    called = 0
    for k in range(8):
        symmetric = (real(k) + real(k)[:, ::-1]) / 2
        g = child(k, "symmetric")
        a, b = (symmetric + 0.02 * g.standard_normal(symmetric.shape) for _ in range(2))
        found = placement(a[:, ::-1] if k % 2 else a, b, (MM, MM))
        called += found.flipped is not None
        assert found.distance_mm < 0.5
    assert called == 0


def test_an_upside_down_symmetric_anatomy_is_flipped_though_its_sides_are_not_known():
    symmetric = (real() + real()[:, ::-1]) / 2
    found = placement(symmetric[::-1], symmetric)
    assert found.flipped is True
    assert found.shift.name == "flip up-down or rotate 180"


def test_a_sheared_image_is_never_called_flipped():
    assert not any(placement(planted(Distort(shear=s), k), real(k)).flipped for s in (-0.1, 0.08) for k in range(8))


def test_a_wrapped_image_is_told_from_a_moved_one():
    wrapped = placement(planted(Wrap((0.0, 0.33))), real(), (MM, MM))
    assert wrapped.shift.wrapped
    pixels = round(0.33 * SIZE)
    cut = real().copy()
    cut = np.roll(cut, pixels, axis=1)
    cut[:, :pixels] = 0
    moved = placement(cut, real(), (MM, MM))
    assert moved.distance_mm == pytest.approx(pixels * MM, abs=0.2)
    assert not moved.shift.wrapped


@pytest.mark.parametrize("smoothing", [0.0, 1.0, 2.0, 4.0])
def test_noise_has_nothing_in_common_with_anatomy(smoothing):
    for k in range(8):
        noise = ndimage.gaussian_filter(child(k, "noise").random((SIZE, SIZE)), smoothing, mode="wrap")
        found = placement(noise, real(k))
        assert not found.shift.found
        assert found.distance_mm is None
        assert found.flipped is None


def test_a_constant_output_has_no_place():
    found = placement(np.full((64, 64), 0.5), real()[::2, ::2])
    assert found.displacement_mm is None
    assert found.scale is None
    assert found.windows.deformation_mm is None


def test_large_images_are_reduced_and_measured_in_mm():
    large = np.kron(real(), np.ones((3, 3)))
    assert placement(np.roll(large, 9, axis=0), large, (0.5, 0.5)).displacement_mm == pytest.approx((4.5, 0), abs=0.1)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="at least 32"):
        placement(np.zeros((20, 40)), np.zeros((20, 40)))
    with pytest.raises(ValueError, match="shape"):
        placement(np.zeros((40, 40)), np.zeros((40, 41)))
    with pytest.raises(ValueError, match="one shape"):
        best_shift(np.zeros((4, 4), np.complex64), np.zeros((4, 5), np.complex64))


def test_a_paraboloid_is_refined_exactly():
    u = np.array([-1.0, 0.0, 1.0])
    y, x = u[:, None], u[None, :]
    top, curvature = np.array([0.3, -0.2]), np.array([[2.0, 0.3], [0.3, 1.0]])
    dy, dx = y - top[0], x - top[1]
    surface = 5 - 0.5 * (curvature[0, 0] * dy**2 + 2 * curvature[0, 1] * dy * dx + curvature[1, 1] * dx**2)
    offset, sharpness = refined_peak(surface[None])
    assert offset[0] == pytest.approx(top)
    assert sharpness[0] == pytest.approx(curvature)


def test_boundaries_of_parallel_lines_lie_where_they_were_drawn():
    a, b = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    a[:, 10] = b[:, 13] = True
    found = boundary_agreement(a, b, (1.0, 0.5), 1.0)
    assert found.mean_mm == pytest.approx(1.5)
    assert found.hd95_mm == pytest.approx(1.5)
    assert found.f_score == 0.0
    assert boundary_agreement(a, b, (1.0, 0.5), 1.5).f_score == 1.0
    assert boundary_agreement(a, np.zeros_like(a), (1.0, 1.0), 1.0) is None
    with pytest.raises(ValueError, match="tolerance"):
        boundary_agreement(a, b, (1.0, 1.0), -1.0)


@given(seed=st.integers(0, 1000), gain=st.floats(0.2, 5), offset=st.floats(-1, 1))
@settings(max_examples=15)
def test_property_edges_do_not_depend_on_gain_and_offset_and_agreement_is_symmetric(seed, gain, offset):
    image, other = blobs(seed), blobs(seed + 1)
    assert (edges(image) == edges(gain * image + offset)).mean() > 0.999
    a, b = (boundary_agreement(*pair, (1.0, 1.0), 2.0) for pair in ((edges(image), edges(other)),) * 2)
    assert a == b
    back = boundary_agreement(edges(other), edges(image), (1.0, 1.0), 2.0)
    assert back == pytest.approx(a)


def disc(radius: float, cy: float = 48.0, cx: float = 48.0) -> np.ndarray:
    return np.clip(radius + 0.5 - np.hypot(Y - cy, X - cx), 0, 1)


def outlined(output: np.ndarray, reference: np.ndarray, reach: float = 15.0):
    mask = disc(10.0) > 0.5
    ring = ndimage.binary_dilation(mask, iterations=5) & ~ndimage.binary_dilation(mask, iterations=2)
    return lesion_outlines(reference, output, mask, ring, (1.0, 1.0), reach)


def test_the_outline_of_a_disc_has_its_area_place_and_circularity():
    real_outline, made = outlined(0.2 + 0.3 * disc(10.0, 51.5, 48.0), 0.2 + 0.5 * disc(10.0))
    assert real_outline.area == pytest.approx(np.pi * 100, rel=0.02)
    assert real_outline.circularity == pytest.approx(1.0, abs=0.02)
    assert made.centre == pytest.approx((51.5, 48.0), abs=0.05)
    assert outline_change(made, real_outline) < 0.02


def test_a_square_of_the_same_area_differs_by_what_the_integral_says():
    half = 10 * np.sqrt(np.pi) / 2
    square = np.outer(*(np.clip(half + 0.5 - np.abs(np.arange(96) - 48.0), 0, 1) for _ in range(2)))
    real_outline, made = outlined(0.2 + 0.5 * square, 0.2 + 0.5 * disc(10.0))
    assert outline_change(made, real_outline) == pytest.approx(0.08, abs=0.02)
    # The smoothing rounds the corners off a little.
    assert np.pi / 4 < made.circularity < 0.87


def test_dark_lesions_are_outlined_and_absent_faint_or_far_ones_are_not():
    reference = 0.6 - 0.4 * disc(10.0)
    assert outlined(reference, reference)[1] is not None
    assert outlined(np.full((96, 96), 0.6), reference)[1] is None
    assert outlined(0.6 - 0.08 * disc(10.0), reference)[1] is None
    assert outlined(0.6 - 0.4 * disc(10.0, 70.0), reference)[1] is None
    assert outlined(reference, np.full((96, 96), 0.6)) == (None, None)


def test_squared_lesions_change_and_kept_ones_do_not():
    from medgan_qa.metrics import components, surround
    from medgan_qa.metrics.body import body_mask

    for k, pair in enumerate(PAIRS):
        masks = components(pair.lesion_mask, 12)
        for mask in masks:
            ring = surround(mask, body_mask(real(k)), masks)
            changes = []
            for output in (planted(SquareLesions(), k), real(k) + 0.01 * child(k, "n").standard_normal((SIZE, SIZE))):
                before, after = lesion_outlines(real(k), output, mask, ring, (MM, MM), 15.0)
                changes.append(outline_change(after, before))
            assert changes[0] > 0.06
            assert changes[1] < 0.03
