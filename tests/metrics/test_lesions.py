"""Lesions: components, matching rules, rings and contrast, on hand-made masks and by invariance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medgan_qa.metrics import (
    MatchingRule,
    components,
    contrast,
    contrast_noise,
    equivalent_diameter,
    found,
    surround,
    unmatched,
)
from medgan_qa.rng import child

SPACING = (1.0, 1.0)
RULES = [MatchingRule("overlap"), MatchingRule("centroid"), MatchingRule("dilated_hit", dilate_mm=2.0)]
masks = hnp.arrays(bool, (12, 10))
flips = st.sampled_from([np.flipud, np.fliplr, lambda a: a[::-1, ::-1]])


def drawn(*rows: str) -> np.ndarray:
    """A mask from rows of text, `#` for a pixel."""
    return np.array([[char == "#" for char in row] for row in rows])


def block(top: int, left: int, height: int, width: int, shape: tuple[int, int] = (24, 24)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


class TestComponents:
    def test_diagonal_neighbours_are_one_component(self):
        assert len(components(drawn("#..", ".#.", "..#"))) == 1

    def test_order_is_that_of_the_first_pixel(self):
        # the component on the left starts lower than the one on the right
        parts = components(drawn("...#", "#..#", "#...", "..##"))
        assert [tuple(np.argwhere(part)[0]) for part in parts] == [(0, 3), (1, 0), (3, 2)]

    def test_small_ones_are_left_out(self):
        mask = drawn("#..##", ".....", "###..")
        assert [part.sum() for part in components(mask, min_pixels=2)] == [2, 3]
        assert components(mask, min_pixels=4) == []

    def test_empty_mask_has_none(self):
        assert components(np.zeros((4, 4), bool)) == []

    def test_full_mask_is_one(self):
        assert [part.sum() for part in components(np.ones((4, 4), bool))] == [16]

    def test_refuses_a_size_below_one(self):
        with pytest.raises(ValueError, match="min_pixels"):
            components(np.zeros((4, 4), bool), min_pixels=0)

    @given(masks)
    def test_prop_parts_are_disjoint_and_rebuild_the_mask(self, mask):
        parts = components(mask)
        total = np.sum(parts, axis=0) if parts else np.zeros(mask.shape, int)
        assert np.array_equal(total, mask.astype(int))
        assert all(part.any() and len(components(part)) == 1 for part in parts)


class TestEquivalentDiameter:
    def test_disc_has_its_diameter(self):
        y, x = np.mgrid[:101, :101]
        disc = (y - 50) ** 2 + (x - 50) ** 2 <= 40**2
        assert equivalent_diameter(disc, (0.5, 0.5)) == pytest.approx(40.0, rel=0.005)

    def test_counts_anisotropic_pixels(self):
        assert equivalent_diameter(block(0, 0, 1, 1), (2.0, 0.5)) == pytest.approx(2 / math.sqrt(math.pi))

    def test_empty_is_zero(self):
        assert equivalent_diameter(np.zeros((3, 3), bool), SPACING) == 0.0

    @pytest.mark.parametrize("spacing", [(0.0, 1.0), (1.0, -1.0), (1.0, math.nan), (1.0,)])
    def test_refuses_a_spacing_that_is_none(self, spacing):
        with pytest.raises(ValueError, match="spacing"):
            equivalent_diameter(block(0, 0, 1, 1), spacing)


class TestMatchingRule:
    @pytest.mark.parametrize(
        "arguments",
        [{"name": "iou"}, {"min_overlap": 0.0}, {"min_overlap": 1.1}, {"dilate_mm": -1.0}, {"dilate_mm": math.nan}],
    )
    def test_refuses_what_cannot_be_applied(self, arguments):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            MatchingRule(**arguments)

    def test_description_states_the_numbers_in_one_sentence(self):
        text = MatchingRule("overlap", min_overlap=0.4, dilate_mm=2.5).describe()
        assert "at least 40% of its area" in text
        assert "within 2.5 mm of an annotated lesion" in text
        assert text.count(". ") == 0
        assert text.endswith(".")

    def test_each_rule_describes_itself(self):
        assert len({rule.describe() for rule in RULES}) == len(RULES)


class TestFound:
    def test_overlap_counts_the_share_of_the_lesion(self):
        lesion = block(4, 4, 4, 5)  # 20 pixels
        rule = MatchingRule("overlap", min_overlap=0.25)
        assert found(lesion, block(4, 4, 1, 5), rule, SPACING)  # 5 of 20
        assert not found(lesion, block(4, 4, 1, 4), rule, SPACING)  # 4 of 20

    def test_overlap_at_the_limit_survives_rounding(self):
        # 0.07 * 100 is 7.000000000000001 in binary
        assert found(block(0, 0, 10, 10), block(0, 0, 1, 7), MatchingRule("overlap", min_overlap=0.07), SPACING)

    def test_overlap_is_not_symmetric(self):
        small, large = block(8, 8, 2, 2), block(2, 2, 16, 16)
        assert found(small, large, MatchingRule("overlap"), SPACING)
        assert not found(large, small, MatchingRule("overlap"), SPACING)

    def test_a_lesion_read_in_two_pieces_is_found_by_their_union(self):
        lesion = block(4, 4, 4, 10)
        pieces = [block(4, 4, 4, 2), block(4, 12, 4, 2)]
        rule = MatchingRule("overlap", min_overlap=0.4)
        assert found(lesion, pieces[0] | pieces[1], rule, SPACING)
        assert not any(found(lesion, piece, rule, SPACING) for piece in pieces)

    @pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
    def test_one_mark_over_two_lesions_finds_both(self, rule):
        lesions = [block(4, 4, 3, 3), block(4, 10, 3, 3)]
        assert all(found(lesion, block(4, 4, 3, 9), rule, SPACING) for lesion in lesions)

    def test_centroid_of_a_ring_lies_on_the_ring(self):
        ring = block(4, 4, 9, 9) & ~block(6, 6, 5, 5)
        assert found(ring, ring, MatchingRule("centroid"), SPACING)
        assert not found(ring, block(6, 6, 5, 5), MatchingRule("centroid"), SPACING)

    def test_centroid_asks_for_the_centre(self):
        lesion = block(4, 4, 5, 5)
        assert found(lesion, block(6, 6, 1, 1), MatchingRule("centroid"), SPACING)
        assert not found(lesion, lesion & ~block(6, 6, 1, 1), MatchingRule("centroid"), SPACING)

    def test_centroid_of_an_even_lesion_is_any_of_its_middle_pixels(self):
        lesion = block(4, 0, 2, 4)
        middle = [block(row, column, 1, 1) for row in (4, 5) for column in (1, 2)]
        assert all(found(lesion, pixel, MatchingRule("centroid"), (0.7, 1.3)) for pixel in middle)
        assert not found(lesion, block(4, 0, 1, 1), MatchingRule("centroid"), (0.7, 1.3))

    def test_centroid_measures_in_mm(self):
        # an L: its centroid lies off the lesion, and the nearest pixel depends on the spacing
        lesion = drawn("#....", "#....", "#....", "#####")
        upright, lying = drawn(".....", ".....", "#....", "....."), drawn(".....", ".....", ".....", ".#...")
        assert found(lesion, upright, MatchingRule("centroid"), (5.0, 1.0))
        assert found(lesion, lying, MatchingRule("centroid"), (1.0, 5.0))
        assert not found(lesion, upright, MatchingRule("centroid"), (1.0, 5.0))

    def test_dilated_hit_measures_in_mm(self):
        lesion, reading = block(4, 4, 2, 2), block(4, 8, 2, 2)  # 3 pixels apart along x
        rule = MatchingRule("dilated_hit", dilate_mm=3.0)
        assert found(lesion, reading, rule, (1.0, 1.0))
        assert not found(lesion, reading, rule, (1.0, 1.1))
        assert found(lesion, reading, rule, (5.0, 0.9))

    @pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
    def test_an_empty_reading_finds_nothing(self, rule):
        assert not found(block(4, 4, 3, 3), np.zeros((24, 24), bool), rule, SPACING)

    def test_an_empty_lesion_is_an_error(self):
        with pytest.raises(ValueError, match="lesion is empty"):
            found(np.zeros((4, 4), bool), np.ones((4, 4), bool), MatchingRule(), SPACING)

    def test_scores_are_refused(self):
        with pytest.raises(TypeError, match="reading must be a bool mask"):
            found(block(4, 4, 3, 3), np.full((24, 24), -5.0), MatchingRule(), SPACING)

    def test_shapes_must_agree(self):
        with pytest.raises(ValueError, match=r"reading must have shape \(24, 24\)"):
            found(block(4, 4, 3, 3), np.zeros((24, 23), bool), MatchingRule(), SPACING)

    @given(masks.filter(np.any), masks, st.sampled_from(RULES), flips)
    def test_prop_mirroring_changes_no_match(self, lesion, reading, rule, flip):
        spacing = (0.7, 1.3)
        assert found(flip(lesion), flip(reading), rule, spacing) == found(lesion, reading, rule, spacing)

    @given(masks.filter(np.any), masks, masks, st.sampled_from(RULES))
    def test_prop_more_marks_never_lose_a_lesion(self, lesion, reading, more, rule):
        assert found(lesion, lesion, rule, SPACING)
        assert not found(lesion, reading, rule, SPACING) or found(lesion, reading | more, rule, SPACING)


class TestUnmatched:
    RULE = MatchingRule("overlap", dilate_mm=2.0)

    def marks(self, reading, lesions, known=None, spacing=SPACING, min_pixels=1):
        return unmatched(reading, lesions, known=known, rule=self.RULE, spacing_mm=spacing, min_pixels=min_pixels)

    def test_a_mark_away_from_every_lesion_is_returned(self):
        false_alarm = block(18, 18, 3, 3)
        (mark,) = self.marks(block(4, 4, 3, 3) | false_alarm, [block(4, 4, 3, 3)])
        assert np.array_equal(mark, false_alarm)

    def test_distance_is_in_mm_and_inclusive(self):
        lesion, mark = block(4, 4, 3, 3), block(4, 8, 3, 3)  # 2 pixels apart
        assert self.marks(mark, [lesion]) == []
        assert len(self.marks(mark, [lesion], spacing=(1.0, 1.01))) == 1

    def test_a_mark_that_covers_too_little_is_a_miss_and_no_false_alarm(self):
        lesion, mark = block(4, 4, 8, 8), block(4, 4, 1, 2)
        assert not found(lesion, mark, self.RULE, SPACING)
        assert self.marks(mark, [lesion]) == []

    def test_a_known_mark_is_not_counted_again(self):
        known, new = block(4, 4, 3, 3), block(18, 18, 3, 3)
        (mark,) = self.marks(known | new, [], known=known)
        assert np.array_equal(mark, new)

    def test_small_marks_are_left_out(self):
        assert self.marks(block(4, 4, 1, 2), [], min_pixels=3) == []

    def test_lesions_come_as_masks_as_an_array_or_as_their_union(self):
        lesions = [block(4, 4, 3, 3), block(4, 14, 3, 3)]
        reading = block(18, 18, 3, 3) | lesions[0] | lesions[1]
        counts = [len(self.marks(reading, given)) for given in (lesions, np.stack(lesions), lesions[0] | lesions[1])]
        assert counts == [1, 1, 1]

    def test_nothing_marked_nothing_unmatched(self):
        assert self.marks(np.zeros((24, 24), bool), [block(4, 4, 3, 3)]) == []

    @given(masks, masks, flips)
    def test_prop_mirroring_changes_no_count(self, reading, lesions, flip):
        assert len(self.marks(flip(reading), flip(lesions))) == len(self.marks(reading, lesions))

    @given(masks)
    def test_prop_a_perfect_reading_has_none(self, mask):
        assert self.marks(mask, components(mask)) == []

    @given(masks)
    def test_prop_without_lesions_every_component_is_returned(self, mask):
        assert len(self.marks(mask, [])) == len(components(mask))


class TestSurround:
    BODY = np.ones((24, 24), bool)

    def test_ring_lies_between_gap_and_width(self):
        lesion = block(12, 12, 1, 1)
        ring = surround(lesion, self.BODY, [], gap_px=1, width_px=3)
        distance = np.hypot(*(np.indices((24, 24)) - 12))
        assert np.array_equal(ring, (distance > 1) & (distance <= 4))

    def test_stays_inside_the_body(self):
        body = block(0, 0, 24, 13)
        ring = surround(block(10, 9, 4, 4), body, [])
        assert ring.any()
        assert not (ring & ~body).any()

    def test_keeps_the_gap_to_other_lesions_too(self):
        lesion, other = block(10, 8, 3, 3), block(10, 13, 3, 3)
        ring = surround(lesion, self.BODY, [other])
        assert ring.any()
        assert not (ring & (other | block(10, 12, 3, 1))).any()
        assert surround(lesion, self.BODY, [])[11, 12]

    def test_the_union_of_all_lesions_serves_as_others(self):
        lesion, other = block(10, 8, 3, 3), block(10, 13, 3, 3)
        assert np.array_equal(surround(lesion, self.BODY, lesion | other), surround(lesion, self.BODY, [other]))

    def test_is_empty_where_no_room_is_left(self):
        lesion = block(10, 10, 3, 3)
        assert not surround(lesion, lesion, []).any()

    def test_refuses_an_empty_lesion_and_impossible_widths(self):
        with pytest.raises(ValueError, match="lesion is empty"):
            surround(np.zeros((24, 24), bool), self.BODY, [])
        with pytest.raises(ValueError, match="width_px"):
            surround(block(4, 4, 2, 2), self.BODY, [], width_px=0)

    @given(masks.filter(np.any), masks, masks, flips)
    def test_prop_is_disjoint_from_lesions_and_mirrors(self, lesion, others, body, flip):
        ring = surround(lesion, body, others)
        assert not (ring & (lesion | others | ~body)).any()
        assert np.array_equal(flip(ring), surround(flip(lesion), flip(body), flip(others)))


class TestContrast:
    LESION, RING = block(10, 10, 3, 3), block(7, 7, 9, 9) & ~block(9, 9, 5, 5)

    def test_sign_follows_the_lesion(self):
        image = np.full((24, 24), 0.5)
        image[self.LESION] = 0.8
        assert contrast(image, self.LESION, self.RING) == pytest.approx(0.3)
        assert contrast(1 - image, self.LESION, self.RING) == pytest.approx(-0.3)

    def test_float32_input_is_averaged_in_float64(self):
        lesion = block(0, 0, 20, 20)
        image = np.where(lesion, np.float32(0.1), np.float32(0.3))
        expected = float(np.float32(0.1)) - float(np.float32(0.3))
        assert contrast(image, lesion, ~lesion) == pytest.approx(expected, rel=1e-12)

    def test_pixels_outside_the_masks_do_not_matter(self):
        image = np.where(self.LESION, 0.8, np.where(self.RING, 0.5, np.nan))
        assert contrast(image, self.LESION, self.RING) == pytest.approx(0.3)

    @pytest.mark.parametrize("estimate", [contrast, contrast_noise])
    def test_refuses_empty_masks_and_missing_values(self, estimate):
        image, nothing = np.zeros((24, 24)), np.zeros((24, 24), bool)
        with pytest.raises(ValueError, match="lesion is empty"):
            estimate(image, nothing, self.RING)
        with pytest.raises(ValueError, match="ring is empty"):
            estimate(image, self.LESION, nothing)
        with pytest.raises(ValueError, match="NaN or infinity"):
            estimate(np.where(self.LESION, np.nan, image), self.LESION, self.RING)
        with pytest.raises(ValueError, match="image must have shape"):
            estimate(image[:-1], self.LESION, self.RING)

    def test_noise_is_welchs_standard_error(self):
        image = np.zeros((1, 5))
        image[0] = [1.0, 3.0, 4.0, 5.0, 9.0]
        lesion = np.array([[True, True, False, False, False]])
        # variances 2 of (1, 3) and 7 of (4, 5, 9)
        assert contrast_noise(image, lesion, ~lesion) == pytest.approx(math.sqrt(2 / 2 + 7 / 3))

    def test_a_single_pixel_takes_the_rings_variance(self):
        image = np.array([[7.0, 4.0, 5.0, 9.0]])
        lesion = np.array([[True, False, False, False]])
        assert contrast_noise(image, lesion, ~lesion) == pytest.approx(math.sqrt(7 / 1 + 7 / 3))
        assert contrast_noise(image, ~lesion, lesion) == pytest.approx(math.sqrt(7 / 1 + 7 / 3))

    def test_two_single_pixels_have_no_noise_estimate(self):
        lesion = np.array([[True, False]])
        with pytest.raises(ValueError, match="one pixel each"):
            contrast_noise(np.array([[1.0, 2.0]]), lesion, ~lesion)

    def test_noise_is_the_spread_of_repeated_contrasts(self):
        images = child(3, "noise").normal(0.5, 0.1, (400, 24, 24))
        spread = np.std([contrast(image, self.LESION, self.RING) for image in images])
        noise = np.mean([contrast_noise(image, self.LESION, self.RING) for image in images])
        assert noise == pytest.approx(spread, rel=0.1)

    @given(
        hnp.arrays(np.float64, (24, 24), elements=st.floats(-10, 10)),
        st.floats(-100, 100),
        st.floats(-5, 5),
    )
    def test_prop_ignores_an_offset_and_scales_with_the_image(self, image, offset, factor):
        value, noise = (f(image, self.LESION, self.RING) for f in (contrast, contrast_noise))
        changed = factor * image + offset
        assert contrast(changed, self.LESION, self.RING) == pytest.approx(factor * value, abs=1e-9)
        assert contrast_noise(changed, self.LESION, self.RING) == pytest.approx(abs(factor) * noise, abs=1e-9)
        assert contrast(image, self.RING, self.LESION) == pytest.approx(-value)
