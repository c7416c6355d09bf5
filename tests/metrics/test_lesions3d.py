"""Lesions in volumes: components, size, matching and contrast against SciPy, drawn bodies and the rules in a slice."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from medgan_qa.metrics import MatchingRule, components, contrast, contrast_noise, found, surround, unmatched
from medgan_qa.metrics.lesions3d import (
    Box,
    components3d,
    contrast3d,
    contrast_noise3d,
    equivalent_diameter3d,
    found3d,
    is_near,
    planes,
    section_shares,
    unmatched3d,
)
from medgan_qa.rng import child

CUBE = (1.0, 1.0, 1.0)
THICK = (5.0, 1.0, 0.5)
RULES = [MatchingRule("overlap"), MatchingRule("centroid"), MatchingRule("dilated_hit", dilate_mm=2.0)]
stacks = hnp.arrays(bool, (5, 7, 6), elements=st.sampled_from([False, False, False, True]))
flips = st.sampled_from([(0,), (1,), (2,), (0, 1, 2)])


def block(start: tuple[int, int, int], size: tuple[int, int, int], shape: tuple[int, int, int] = (8, 16, 16)):
    stack = np.zeros(shape, dtype=bool)
    stack[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))] = True
    return stack


def ellipsoid(radii_mm, spacing, shape):
    """Voxels whose centre lies in an ellipsoid about the middle of the stack."""
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, spacing, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return (z / radii_mm[0]) ** 2 + (y / radii_mm[1]) ** 2 + (x / radii_mm[2]) ** 2 <= 1


def whole(boxes: list[Box], shape) -> list[np.ndarray]:
    out = []
    for box in boxes:
        stack = np.zeros(shape, dtype=bool)
        stack[box.window] = box.mask
        out.append(stack)
    return out


class TestComponents:
    @given(stacks)
    @settings(deadline=None)
    def test_prop_equals_scipy_with_a_full_cube_of_neighbours(self, stack):
        labels, number = ndimage.label(stack, structure=np.ones((3, 3, 3)))
        expected = {(labels == k).tobytes() for k in range(1, number + 1)}
        found_ = whole(components3d(stack), stack.shape)
        assert len(found_) == number
        assert {one.tobytes() for one in found_} == expected

    @given(stacks)
    @settings(deadline=None)
    def test_prop_order_is_that_of_the_first_voxel_and_boxes_are_tight(self, stack):
        boxes = components3d(stack)
        first = [tuple(np.argwhere(one)[0]) for one in whole(boxes, stack.shape)]
        assert first == sorted(first)
        assert all(
            box.mask.any(axis=axes)[end] for box in boxes for axes in ((1, 2), (0, 2), (0, 1)) for end in (0, -1)
        )

    def test_two_that_touch_at_a_corner_only_are_one(self):
        assert len(components3d(block((1, 2, 2), (2, 2, 2)) | block((3, 4, 4), (2, 2, 2)))) == 1

    def test_an_empty_slice_separates(self):
        assert len(components3d(block((0, 4, 4), (2, 3, 3)) | block((3, 4, 4), (2, 3, 3)))) == 2

    def test_small_ones_are_left_out_by_their_voxels_over_all_slices(self):
        line = block((0, 4, 4), (4, 1, 1))
        assert len(components3d(line, min_voxels=4)) == 1
        assert components3d(line, min_voxels=5) == []

    def test_one_slice_gives_what_the_plane_rule_gives(self):
        mask = child(1, "plane").random((12, 14)) < 0.2
        assert [box.section(0, mask.shape).tobytes() for box in components3d(mask[None])] == [
            part.tobytes() for part in components(mask)
        ]

    def test_a_box_knows_its_slices_and_its_largest_section(self):
        (box,) = components3d(block((2, 4, 4), (1, 2, 2)) | block((3, 4, 4), (2, 3, 3)) | block((5, 4, 4), (1, 1, 1)))
        assert list(box.slices) == [2, 3, 4, 5]
        assert box.largest == 3  # the first of two that are alike
        assert box.voxels == 4 + 9 + 9 + 1
        assert box.section(3, (16, 16)).sum() == 9
        assert not box.section(6, (16, 16)).any()

    def test_a_large_sparse_volume_holds_boxes_and_not_copies_of_the_stack(self):
        stack = np.zeros((40, 128, 128), dtype=bool)
        stack[::4, ::8, ::8] = True
        boxes = components3d(stack)
        assert len(boxes) == stack.sum()
        assert sum(box.mask.nbytes for box in boxes) == len(boxes)

    @pytest.mark.parametrize("size", [0, -1])
    def test_refuses_a_size_below_one(self, size):
        with pytest.raises(ValueError, match="min_voxels"):
            components3d(block((0, 0, 0), (1, 1, 1)), min_voxels=size)

    def test_refuses_what_is_no_stack_of_masks(self):
        with pytest.raises(TypeError, match="bool"):
            components3d(np.zeros((2, 2, 2)))
        with pytest.raises(ValueError, match="three-dimensional"):
            components3d(np.zeros((2, 2), bool))


class TestEquivalentDiameter:
    @pytest.mark.parametrize("spacing", [(1.0, 0.5, 0.5), (2.0, 1.0, 0.5)])
    def test_an_ellipsoid_has_the_diameter_of_the_ball_with_its_volume(self, spacing):
        radii = (12.0, 9.0, 15.0)
        shape = tuple(int(2 * r / step) + 5 for r, step in zip(radii, spacing, strict=True))
        (box,) = components3d(ellipsoid(radii, spacing, shape))
        assert equivalent_diameter3d(box.voxels, spacing) == pytest.approx(2 * math.cbrt(math.prod(radii)), rel=0.005)

    def test_thick_slices_count_for_what_they_hold(self):
        assert equivalent_diameter3d(1, THICK) == pytest.approx(math.cbrt(6 * 2.5 / math.pi))

    def test_nothing_has_none(self):
        assert equivalent_diameter3d(0, CUBE) == 0.0

    @pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.0, 1.0, 1.0), (1.0, math.nan, 1.0), (-1.0, 1.0, 1.0)])
    def test_refuses_a_spacing_that_is_none(self, spacing):
        with pytest.raises(ValueError, match="spacing"):
            equivalent_diameter3d(4, spacing)

    def test_refuses_fewer_than_none(self):
        with pytest.raises(ValueError, match="voxels"):
            equivalent_diameter3d(-1, CUBE)


class TestFound:
    def test_overlap_is_a_share_of_all_voxels(self):
        (lesion,) = components3d(block((2, 4, 4), (3, 4, 4)))  # 48 voxels
        rule = MatchingRule("overlap", min_overlap=0.5)
        assert found3d(lesion, block((2, 4, 4), (2, 4, 4)), rule, CUBE)  # two of three slices
        assert not found3d(lesion, block((3, 4, 4), (1, 4, 4)), rule, CUBE)

    def test_sections_say_which_slice_is_gone(self):
        (lesion,) = components3d(block((2, 4, 4), (3, 4, 4)))
        reading = block((2, 4, 4), (3, 4, 4)) & ~block((3, 0, 0), (1, 16, 16)) & ~block((4, 4, 4), (1, 2, 4))
        assert section_shares(lesion, reading) == (1.0, 0.0, 0.5)

    def test_a_hit_counts_in_mm_in_every_direction(self):
        lesion, rule = block((2, 6, 6), (1, 2, 2)), MatchingRule("dilated_hit", dilate_mm=4.0)
        (box,) = components3d(lesion)
        spacing = (3.0, 1.0, 0.5)
        for mark, near in [
            (block((3, 6, 6), (1, 1, 1)), True),  # 3 mm below
            (block((4, 6, 6), (1, 1, 1)), False),  # 6 mm below
            (block((2, 11, 6), (1, 1, 1)), True),  # 4 mm
            (block((2, 12, 6), (1, 1, 1)), False),
            (block((2, 6, 15), (1, 1, 1)), True),  # 4 mm
            (block((3, 9, 6), (1, 1, 1)), True),  # 3 mm below, 2 mm beside: 3.6
            (block((3, 10, 6), (1, 1, 1)), False),  # 4.2
        ]:
            assert found3d(box, mark, rule, spacing) is near

    def test_centroid_asks_for_the_middle_of_the_volume(self):
        (box,) = components3d(block((1, 4, 4), (3, 5, 5)))
        assert found3d(box, block((2, 6, 6), (1, 1, 1)), MatchingRule("centroid"), CUBE)
        assert not found3d(box, block((1, 6, 6), (1, 1, 1)), MatchingRule("centroid"), CUBE)

    def test_centroid_of_an_even_number_of_slices_is_either_of_the_two(self):
        (box,) = components3d(block((1, 4, 4), (2, 3, 3)))
        for z in (1, 2):
            assert found3d(box, block((z, 5, 5), (1, 1, 1)), MatchingRule("centroid"), THICK)

    @given(stacks, stacks, flips, st.sampled_from(RULES))
    @settings(deadline=None)
    def test_prop_a_mirrored_volume_is_judged_alike(self, lesions, reading, axes, rule):
        def judged(lesion_stack, marks):
            return sorted((box.voxels, found3d(box, marks, rule, THICK)) for box in components3d(lesion_stack))

        assert judged(lesions, reading) == judged(np.flip(lesions, axes), np.flip(reading, axes))

    @given(hnp.arrays(bool, (9, 8)), hnp.arrays(bool, (9, 8)), st.sampled_from(RULES))
    @settings(deadline=None)
    def test_prop_one_slice_is_judged_as_the_plane_rule_does(self, lesions, reading, rule):
        plane = [found(part, reading, rule, (1.0, 0.5)) for part in components(lesions)]
        assert [found3d(box, reading[None], rule, THICK) for box in components3d(lesions[None])] == plane


class TestUnmatched:
    RULE = MatchingRule(dilate_mm=3.0)

    @given(stacks, stacks, st.sampled_from([0.0, 1.0, 2.5, 6.0]))
    @settings(deadline=None)
    def test_prop_equals_distances_over_the_whole_volume(self, marked, known, distance):
        rule = MatchingRule(dilate_mm=distance)
        far = ndimage.distance_transform_edt(~known, sampling=THICK) if known.any() else np.full(known.shape, np.inf)
        expected = [
            part.tobytes()
            for part in whole(components3d(marked), marked.shape)
            if not (far[part] <= distance + 1e-9).any()
        ]
        left = unmatched3d(marked, known, rule=rule, spacing_mm=THICK)
        assert [part.tobytes() for part in whole(left, marked.shape)] == expected

    def test_a_mark_over_several_slices_is_one(self):
        marked = block((1, 2, 2), (4, 2, 2))
        assert len(unmatched3d(marked, np.zeros_like(marked), rule=self.RULE, spacing_mm=CUBE)) == 1

    def test_a_mark_that_runs_on_from_a_lesion_is_explained_by_it(self):
        lesion, marked = block((1, 4, 4), (2, 3, 3)), block((2, 4, 4), (5, 3, 3))
        assert unmatched3d(marked, lesion, rule=MatchingRule(dilate_mm=0.0), spacing_mm=THICK) == []
        # Slice by slice, what lies beyond the lesion would count as invented.
        assert unmatched(marked[4], [lesion[4]], known=None, rule=MatchingRule(dilate_mm=0.0), spacing_mm=(1.0, 0.5))

    def test_thick_slices_are_far_apart(self):
        lesion, marked = block((1, 4, 4), (1, 3, 3)), block((2, 4, 4), (1, 3, 3))
        assert unmatched3d(marked, lesion, rule=self.RULE, spacing_mm=(3.0, 1.0, 1.0)) == []
        assert len(unmatched3d(marked, lesion, rule=self.RULE, spacing_mm=(3.1, 1.0, 1.0))) == 1

    def test_small_marks_are_left_out(self):
        marked = block((1, 2, 2), (2, 1, 1))
        assert unmatched3d(marked, np.zeros_like(marked), rule=self.RULE, spacing_mm=CUBE, min_voxels=3) == []

    def test_refuses_volumes_of_two_shapes(self):
        with pytest.raises(ValueError, match="explained"):
            unmatched3d(np.zeros((2, 3, 3), bool), np.zeros((3, 3, 3), bool), rule=self.RULE, spacing_mm=CUBE)

    def test_a_mark_that_fills_the_volume_is_near_everything(self):
        (mark,) = components3d(np.ones((6, 20, 20), bool))
        assert is_near(mark, block((0, 0, 0), (1, 1, 1), (6, 20, 20)), 0.0, CUBE)


class TestContrast:
    SHAPE = (5, 40, 40)

    def drawn(self):
        """A lesion with sections of 9, 25 and 9 pixels in three slices, and tissue that differs between these."""
        lesion = block((1, 18, 18), (1, 3, 3), self.SHAPE) | block((2, 17, 17), (1, 5, 5), self.SHAPE)
        lesion |= block((3, 18, 18), (1, 3, 3), self.SHAPE)
        tissue = np.array([0.1, 0.2, 0.5, 0.3, 0.4])[:, None, None] * np.ones(self.SHAPE)
        bodies = [np.ones(self.SHAPE[1:], bool)] * 5
        (box,) = components3d(lesion)
        return lesion, tissue, planes(box, bodies, [box])

    def test_levels_of_slices_do_not_enter(self):
        lesion, tissue, held = self.drawn()
        assert contrast3d(tissue + 0.25 * lesion, held) == pytest.approx(0.25)

    def test_slices_weigh_by_their_pixels(self):
        lesion, tissue, held = self.drawn()
        image = tissue + 0.25 * lesion
        image[3] -= 0.25 * lesion[3]  # gone from one slice
        assert contrast3d(image, held) == pytest.approx(0.25 * 34 / 43)

    def test_one_slice_equals_the_contrast_of_the_plane(self):
        noise = child(2, "image").normal(size=(1, 40, 40))
        lesions = block((0, 6, 6), (1, 4, 5), (1, 40, 40)) | block((0, 14, 6), (1, 4, 4), (1, 40, 40))
        body = np.ones((40, 40), bool)
        boxes, masks = components3d(lesions), components(lesions[0])
        for box, mask in zip(boxes, masks, strict=True):
            held, ring = planes(box, [body], boxes), surround(mask, body, masks)
            assert contrast3d(noise, held) == contrast(noise[0], mask, ring)
            assert contrast_noise3d(noise, held) == pytest.approx(contrast_noise(noise[0], mask, ring), rel=1e-12)

    def test_noise_falls_with_the_number_of_slices(self):
        noise = child(3, "image").normal(size=(8, 40, 40))
        bodies = [np.ones((40, 40), bool)] * 8
        errors = []
        for depth in (1, 4):
            (box,) = components3d(block((0, 15, 15), (depth, 8, 8), (8, 40, 40)))
            errors.append(contrast_noise3d(noise, planes(box, bodies, [box])))
        assert errors[1] == pytest.approx(errors[0] / 2, rel=0.15)

    def test_a_slice_without_room_for_a_ring_is_left_out(self):
        lesion = block((0, 10, 10), (2, 4, 4), (2, 30, 30))
        bodies = [np.ones((30, 30), bool), lesion[1]]
        (box,) = components3d(lesion)
        assert [plane.z for plane in planes(box, bodies, [box])] == [0]

    def test_other_lesions_stay_out_of_the_ring(self):
        lesions = block((0, 10, 10), (2, 4, 4), (2, 30, 30)) | block((1, 10, 16), (1, 4, 4), (2, 30, 30))
        boxes = components3d(lesions)
        bodies = [np.ones((30, 30), bool)] * 2
        rings = {plane.z: plane.ring.sum() for plane in planes(boxes[0], bodies, boxes)}
        assert rings[1] < rings[0]

    def test_no_tissue_anywhere_is_refused(self):
        with pytest.raises(ValueError, match="no slice"):
            contrast3d(np.zeros((2, 4, 4)), [])
