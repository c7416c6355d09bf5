"""Extrapolation of the Frechet distance: nearer to the truth than the plain one, by patient, with an interval."""

from __future__ import annotations

import numpy as np
import pytest

from medgan_qa.metrics.frechet import frechet_distance, frechet_replicates
from medgan_qa.metrics.frechet_infinity import frechet_distance_infinity, frechet_infinity_replicates
from medgan_qa.rng import child
from medgan_qa.stats import draw_halves, half_sample_interval


def gaussians(n, m, d, factor, rng):
    """Two Gaussians whose true distance is (factor - 1)^2 times the sum of 1 / rank."""
    scale = np.arange(1.0, d + 1) ** -0.5
    return rng.normal(size=(n, d)) * scale, rng.normal(size=(m, d)) * scale * factor


def truth(d, factor):
    return (factor - 1) ** 2 * (1 / np.arange(1.0, d + 1)).sum()


class TestFrechetDistanceInfinity:
    @pytest.mark.parametrize("factor", [1.0, 1.2])
    @pytest.mark.parametrize(("n", "m", "remains"), [(256, 256, 0.05), (300, 150, 0.05), (64, 64, 0.25)])
    def test_it_is_much_nearer_to_the_truth(self, n, m, factor, remains):
        rng, values, plain = child(n, "infinity", m), [], []
        for _ in range(25):
            x, y = gaussians(n, m, 64, factor, rng)
            values.append(frechet_distance_infinity(x, y, generator=rng).value)
            plain.append(frechet_distance(x, y))
        bias, plain_bias = np.mean(values) - truth(64, factor), np.mean(plain) - truth(64, factor)
        noise = 3 * np.std(values) / np.sqrt(len(values))
        assert abs(bias) <= remains * plain_bias + noise
        assert plain_bias > 10 * noise

    def test_the_line_goes_through_the_points_of_its_table(self):
        x, y = gaussians(60, 40, 10, 1.0, child(0, "line"))
        found = frechet_distance_infinity(x, y, generator=child(0, "blocks"))
        one, two = found.points
        assert (one.blocks, one.real, one.generated) == (1, 60.0, 40.0)
        assert (two.blocks, two.real, two.generated) == (2, 30.0, 20.0)
        assert one.distance == frechet_distance(x, y)
        assert found.value == pytest.approx(2 * one.distance - two.distance, rel=1e-12)
        assert found.value + found.slope == pytest.approx(one.distance, rel=1e-12)

    def test_more_points_are_fitted_by_least_squares(self):
        x, y = gaussians(60, 40, 10, 1.0, child(0, "line"))
        found = frechet_distance_infinity(x, y, generator=child(0, "blocks"), points=4)
        slope, value = np.polyfit([1, 2, 3, 4], [point.distance for point in found.points], 1)
        assert (found.value, found.slope) == pytest.approx((value, slope), rel=1e-9)
        assert [point.blocks for point in found.points] == [1, 2, 3, 4]

    def test_the_generator_fixes_the_result(self):
        x, y = gaussians(60, 40, 10, 1.0, child(0, "line"))
        one, two, other = (frechet_distance_infinity(x, y, generator=child(seed, "blocks")) for seed in (1, 1, 2))
        assert one == two
        assert one.value != other.value

    def test_copies_within_a_patient_are_no_samples(self):
        # each patient's image stands there four times: by image, halves look as good as the whole and the bias stays
        rng = child(0, "patients")
        x, y = (np.repeat(side, 4, axis=0) for side in gaussians(60, 60, 16, 1.0, rng))
        patients = np.repeat(np.arange(60), 4)
        plain = frechet_distance(x, y)
        by_image = frechet_distance_infinity(x, y, generator=rng).value
        by_patient = frechet_distance_infinity(
            x, y, generator=rng, clusters_real=patients, clusters_generated=[f"s{p}" for p in patients]
        ).value
        assert abs(by_patient) < 0.3 * plain
        assert by_image > 0.5 * plain

    @pytest.mark.parametrize(
        ("n", "options", "message"),
        [
            (10, {"points": 1}, "at least 2 points"),
            (10, {"partitions": 0}, "1 partition"),
            (3, {}, "blocks of at least 2"),
            (10, {"clusters_real": ["p"] * 10}, "1 patients"),
            (10, {"clusters_generated": ["p"] * 9}, "expected 10, got 9"),
            (1, {}, "at least 2 samples"),
        ],
    )
    def test_refuses(self, n, options, message):
        x, y = gaussians(n, n, 3, 1.0, child(0, "refused"))
        with pytest.raises(ValueError, match=message):
            frechet_distance_infinity(x, y, generator=child(0, "blocks"), **options)


class TestFrechetInfinityReplicates:
    def test_they_extrapolate_each_half(self):
        rng = child(0, "replicates")
        x, y = gaussians(60, 60, 4, 1.5, rng)
        masks = [draw_halves(range(60), 6, rng) for _ in range(2)]
        found = frechet_infinity_replicates(x, y, *masks, generator=child(1, "blocks"))
        plain = frechet_replicates(x, y, *masks)
        # the replicates of the plain distance lie above, by the bias of 30 samples
        assert found.shape == (6,)
        assert found.mean() < plain.mean()
        expected = [
            frechet_distance_infinity(x[a], y[b], generator=rng, partitions=50).value
            for a, b in zip(*masks, strict=True)
        ]
        assert found == pytest.approx(expected, abs=4 * np.std(expected))
        assert found.mean() == pytest.approx(np.mean(expected), abs=0.5 * np.std(expected))

    def test_the_interval_covers_the_truth(self):
        rng, hits = child(0, "coverage"), 0
        for _ in range(120):
            x, y = gaussians(80, 60, 8, 1.5, rng)
            masks = draw_halves(range(80), 30, rng), draw_halves(range(60), 30, rng)
            replicates = frechet_infinity_replicates(x, y, *masks, generator=rng)
            value = frechet_distance_infinity(x, y, generator=rng, partitions=2).value
            found = half_sample_interval(value, replicates, clusters=60, sided=2)
            hits += found.low <= truth(8, 1.5) <= found.high
        assert hits / 120 >= 0.92

    def test_refuses_halves_of_one_patient(self):
        x, y = gaussians(8, 8, 2, 1.0, child(0, "refused"))
        masks = np.tile(np.arange(8) < 4, (2, 1))
        with pytest.raises(ValueError, match="1 patients"):
            frechet_infinity_replicates(x, y, masks, masks, generator=child(0, "b"), clusters_real=[0] * 4 + [1] * 4)
