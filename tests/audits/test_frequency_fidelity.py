"""FID-011 on planted super-resolvers: invented texture, blur, and plain interpolation as model and as comparator."""

from __future__ import annotations

import sys
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.audits import HEADINGS, frequency_fidelity
from medgan_qa.audits._band_measures import measure
from medgan_qa.audits._upscaled import difference
from medgan_qa.audits.super_resolution import SuperResolutionRun
from medgan_qa.cohorts.phantom import THICK_SLICES, BrainTruths
from medgan_qa.controls.super_resolvers import (
    Consistent,
    NullTexture,
    Smoothed,
    Truthful,
    Upsampled,
    planted_super_resolver,
)
from medgan_qa.engines import LocalEngine

KINDS = {
    "twofold": {},
    "thick": {"scale": (3, 1), "degradation": THICK_SLICES},
    "uneven": {"scale": (3, 2)},
    "one-grid": {"scale": (1, 1), "degradation": {"kspace": {"kept": 0.5}}},
}


@cache
def cohort(kind, people):
    data = BrainTruths(people=people, size=72, **KINDS[kind])
    # The same images serve many runs; drawing them is what takes the time.
    data.load = cache(data.load)
    return data


@cache
def run_of(defect, kind="twofold", people=10, seed=0):
    data = cohort(kind, people)
    return SuperResolutionRun(planted_super_resolver(data, defect, seed=seed), data, None, LocalEngine(), seed)


@cache
def audited(defect, kind="twofold", people=10, seed=0):
    return frequency_fidelity(run_of(defect, kind, people, seed))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", ["twofold", "thick"])
def test_positive_control_texture_is_invented_although_psnr_is_above_bicubic(value_of, kind, seed):
    findings = audited(NullTexture(0.1 if kind == "thick" else 0.05), kind, seed=seed)

    assert value_of(findings, "FID-011.invented_power[beyond]").interval.low > 1
    assert value_of(findings, "FID-011.error_power[beyond]").interval.low > 1.1
    assert value_of(findings, "FID-011.power_ratio[beyond]").interval.low > 2
    if kind == "twofold":
        assert value_of(findings, "FID-011.psnr_difference").interval.low > 0


def test_positive_control_blur_is_lost_and_nothing_is_invented(value_of):
    findings = audited(Smoothed())

    assert value_of(findings, "FID-011.lost_power[beyond]").interval.low > 0.95
    assert value_of(findings, "FID-011.invented_power[beyond]").interval.high < 0.01
    assert value_of(findings, "FID-011.correlation[beyond]").interval.low > 0.2
    assert value_of(findings, "FID-011.psnr_difference").interval.high < 0
    assert value_of(findings, "FID-011.sharpness_ratio").interval.high < 0.4


@pytest.mark.parametrize("kind", ["twofold", "thick", "uneven"])
@pytest.mark.parametrize("defect", [Truthful(), Consistent()], ids=lambda d: d.name)
def test_negative_control_a_faithful_model_is_clean(value_of, defect, kind):
    findings = audited(defect, kind)

    for region in {m.measurement.stratum for m in findings.estimates} - {None}:
        assert value_of(findings, f"FID-011.error_power[{region}]").interval.high < 0.5
        assert value_of(findings, f"FID-011.correlation[{region}]").interval.low > 0.8
    assert value_of(findings, "FID-011.error_power_difference[beyond]").interval.high < -0.4
    assert value_of(findings, "FID-011.psnr_difference").interval.low > 3


def test_bicubic_against_itself_differs_in_nothing_and_adds_nothing(value_of):
    findings = audited(Upsampled(smooth=True))

    differences = [e.measurement for e in findings.estimates if "_difference" in e.measurement.id]
    assert {m.value for m in differences if "lpips" not in m.id} == {0.0}
    assert value_of(findings, "FID-011.error_power[beyond]").interval.high < 1.1
    assert value_of(findings, "FID-011.invented_power[beyond]").value < 0.1


def test_repeated_pixels_look_sharper_than_bicubic_and_are_further_from_the_truth(value_of):
    findings = audited(Upsampled(smooth=False))

    assert value_of(findings, "FID-011.sharpness_distance_difference").interval.high < 0
    assert value_of(findings, "FID-011.psnr_difference").interval.high < 0
    assert value_of(findings, "FID-011.error_power_difference[beyond]").interval.low > 0.3
    assert "judged by PSNR alone" in findings.notes[0]
    assert "21.15 dB" in findings.notes[1]


def test_the_table_holds_the_model_and_both_comparators():
    table = audited(Upsampled(smooth=True)).exhibits[0]

    assert table.data["columns"] == ["measure", "model", "bicubic", "nearest", "perfect"]
    rows = {row[0]: row[1:] for row in table.data["rows"]}
    assert all(model == plain for model, plain, _, _ in rows.values())
    assert rows["Error over the truth's power, beyond"][2] != rows["Error over the truth's power, beyond"][1]


def test_the_plane_has_a_mark_a_patient_and_image():
    plane = next(e for e in audited(Truthful()).exhibits if e.id == "FID-011-plane")

    groups = [p["group"] for p in plane.data["points"]]
    assert {g: groups.count(g) for g in set(groups)} == {"model": 10, "bicubic": 10, "nearest": 10}
    assert "local sharpness" in plane.data["y_label"]


def test_curves_run_in_cycles_per_mm_along_each_axis_of_thick_slices():
    shown = {e.id: e.data for e in audited(Truthful(), "thick").exhibits if e.kind == "curves"}

    assert set(shown) == {f"FID-011-{c}-along-{a}" for c in ("correlation", "power-ratio") for a in ("rows", "columns")}
    spacing = run_of(Truthful(), "thick").items[0].spacing_mm[0]
    rows, columns = shown["FID-011-correlation-along-rows"], shown["FID-011-correlation-along-columns"]
    assert rows["lines"][1]["x"] == pytest.approx(1 / (6 * spacing), rel=1e-3)
    assert rows["x_range"][1] == pytest.approx(1 / (2 * spacing), rel=1e-3)
    assert "cycles per mm" in rows["x_label"]
    assert len(columns["lines"]) == 1
    # Bicubic knows nothing of the truth's rows beyond the input's Nyquist frequency, and all of its columns.
    bicubic = next(s for s in rows["series"] if s["name"] == "bicubic")
    assert np.mean(bicubic["y"][8:]) < 0.3 < 0.9 < np.mean(bicubic["y"][:3])


def test_square_pixels_have_rings_with_a_band_of_the_model():
    shown = [e for e in audited(Truthful()).exhibits if e.kind == "curves"]

    assert [e.id for e in shown] == ["FID-011-correlation", "FID-011-power-ratio"]
    series = {s["name"]: s for s in shown[0].data["series"]}
    assert list(series) == ["model", "bicubic", "nearest"]
    assert set(series["model"]) > {"low", "high"}
    assert min(series["model"]["y"]) > 0.7


def test_factors_that_differ_have_regions_of_their_own(value_of):
    findings = audited(Truthful(), "uneven")

    assert value_of(findings, "FID-011.error_power[beyond in rows]").value is not None
    assert value_of(findings, "FID-011.error_power[beyond in columns]").value is not None


def test_on_one_grid_there_is_nothing_beyond(value_of):
    findings = audited(Truthful(), "one-grid")

    assert {e.measurement.stratum for e in findings.estimates} == {None, "acquired"}
    assert any("no region beyond" in note for note in findings.notes)
    table = {row[0]: row for row in findings.exhibits[0].data["rows"]}
    assert table["Structural similarity, body"][2] == table["Structural similarity, body"][3]


def test_small_n_has_values_and_no_bounds(value_of):
    findings = audited(Truthful(), people=4)

    for name in ("error_power[beyond]", "psnr_difference", "error_power_difference[beyond]"):
        m = value_of(findings, f"FID-011.{name}")
        assert m.value is not None
        assert m.interval.low is m.interval.high is None
    estimate = next(e for e in findings.estimates if e.measurement.id == "FID-011.psnr_difference")
    assert "4 patients are too few" in estimate.shortfall(None, 0.05)


def test_an_output_equal_to_the_truth_has_no_psnr_and_says_so(value_of):
    findings = audited(Truthful(noise=0.0))

    assert value_of(findings, "FID-011.psnr").value is None
    assert value_of(findings, "FID-011.rmse").value == 0.0
    assert value_of(findings, "FID-011.error_power[beyond]").value == pytest.approx(0.0, abs=1e-10)
    assert any("infinite" in note for note in findings.notes)


def test_without_truths_it_does_not_apply():
    run = SimpleNamespace(paired=[])
    assert "true image" in frequency_fidelity(run).not_applicable


def test_lpips_is_said_to_be_missing_or_used(value_of, monkeypatch):
    # The package names the function as it names its module.
    module = sys.modules[frequency_fidelity.__module__]
    monkeypatch.setattr(module, "find_lpips", lambda device: "the weights are not here.")
    missing = frequency_fidelity(run_of(Truthful()))
    distance = SimpleNamespace(distance=lambda a, b: float(np.abs(a - b).mean()))
    monkeypatch.setattr(module, "find_lpips", lambda device: distance)
    there = frequency_fidelity(run_of(Truthful()))

    for name in ("lpips", "lpips_difference"):
        m = value_of(missing, f"FID-011.{name}")
        assert m.value is None
        assert "notes say" in m.reason
    assert any("weights are not here" in note for note in missing.notes)
    assert value_of(there, "FID-011.lpips_difference").interval.high < 0
    assert "LPIPS" in next(e for e in there.exhibits if e.kind == "scatter").data["y_label"]


def test_images_too_small_for_a_spectrum_are_compared_without_one():
    g = np.random.default_rng(0)
    truth = g.random((12, 12), np.float32)
    item = SimpleNamespace(reference=truth, body=np.ones((12, 12), bool), spacing_mm=(1.0, 1.0))
    found = measure(item, {"model": truth + 0.1}, (2, 2), "no weights")

    assert found.directions == []
    assert found.images["model"].bands == {}
    assert found.images["model"].values["rmse"] == pytest.approx(0.1, rel=1e-5)


def test_rows_hold_every_case_and_the_table_every_image():
    findings = audited(Truthful())

    cases = cohort("twofold", 10).cases
    assert [row["case_id"] for row in findings.rows] == [c.case_id for c in cases]
    assert {row["status"] for row in findings.rows} == {"measured"}
    assert len(findings.tables["exhibits/FID-011-images.csv"]) == 3 * len(cases)
    paragraphs = [text.strip() for text in frequency_fidelity.__doc__.split("\n\n")[1:]]
    assert [next(h for h in HEADINGS if p.startswith(h)) for p in paragraphs] == list(HEADINGS)


values = st.floats(-10, 10, allow_subnormal=False)


@given(st.lists(st.tuples(st.sampled_from("abcdefghij"), values, values), min_size=1, max_size=40))
def test_property_swapping_model_and_comparator_turns_the_difference_round(rows):
    patients = [p for p, _, _ in rows]
    ends = []
    for order in (1, -1):
        pairs = {str(k): (a, b)[::order] for k, (_, a, b) in enumerate(rows)}
        made = difference("X-1.d", "d", pairs, patients, statistic="mean", unit="1", better="lower")
        ends.append((made.measurement.value, made.measurement.interval))

    assert ends[1][0] == pytest.approx(-ends[0][0], abs=1e-9)
    if ends[0][1].low is None:
        assert len(set(patients)) < 8
    else:
        assert ends[1][1].high == pytest.approx(-ends[0][1].low, abs=1e-9)


def test_the_difference_covers_with_slices_that_share_a_patient():
    hits, patients = 0, [str(k // 4) for k in range(80)]
    for seed in range(400):
        g = np.random.default_rng(seed)
        change = 0.5 + np.repeat(g.standard_normal(20), 4) + 0.3 * g.standard_normal(80)
        pairs = {str(k): (c, 0.0) for k, c in enumerate(change)}
        made = difference("X-1.d", "d", pairs, patients, statistic="mean", unit="1", better="lower")
        hits += made.measurement.interval.high >= 0.5

    # 95 % nominal; three standard errors of 400 draws are 3.3 points
    assert 0.917 < hits / 400 < 0.983
