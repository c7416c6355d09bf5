"""The dose-response experiment: mixing shares, counting planted outcomes, resuming, and what it writes."""

from __future__ import annotations

import csv
import dataclasses
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medgan_qa.audits.translation import TranslationRun
from medgan_qa.cohorts.phantom import PLANS, BrainPhantoms
from medgan_qa.engines import LocalEngine
from medgan_qa.errors import ConfigurationError, OutputError
from medgan_qa.subjects.load import load_subject
from reference_models.data import Batch, DataConfig, Pool, mixed_plans
from reference_models.experiments import _dose_arms, dose_response
from reference_models.experiments._dose_outcomes import (
    DETECTOR,
    OUTCOMES,
    Slice,
    mean_error,
    median_recovery,
    read_slices,
    share,
)
from reference_models.experiments._dose_tables import COLUMNS
from reference_models.systems import Pix2Pix

ROOT = Path(__file__).resolve().parent.parent.parent
SHOWN = {"both": 2, "one": 1, "none": 0}
NARROW = {"width": 8, "blocks": 1}


# Shares of tumours in a domain.


@given(patients=st.integers(1, 400), wanted=st.floats(0.0, 1.0))
def test_plans_show_the_wanted_share_to_within_two_slices(patients: int, wanted: float) -> None:
    plans = mixed_plans(patients, wanted)
    assert len(plans) == patients
    assert abs(sum(SHOWN[plan] for plan in plans) - 2 * patients * wanted) <= 2.0 + 1e-9


def test_plans_at_the_ends_and_in_the_middle() -> None:
    assert set(mixed_plans(12, 0.0)) == {"none"}
    assert set(mixed_plans(12, 1.0)) == {"both"}
    assert mixed_plans(12, 0.5) == PLANS * 3


def test_turned_patients_are_spread_over_the_cohort() -> None:
    """Every quarter of the cohort has the share of the whole, so that no part of it is one-sided."""
    plans = mixed_plans(160, 0.25)
    assert [sum(SHOWN[plan] for plan in plans[k : k + 40]) for k in range(0, 160, 40)] == pytest.approx([20] * 4, abs=2)


@pytest.mark.parametrize("wanted", [-0.1, 1.1, float("nan")])
def test_a_share_beyond_the_possible_is_refused(wanted: float) -> None:
    with pytest.raises(ValueError, match="share"):
        mixed_plans(4, wanted)


@pytest.mark.parametrize(("wanted", "shown"), [(0.0, 0.0), (0.25, 0.25), (0.5, 0.5), (1.0, 1.0)])
def test_unpaired_the_target_shows_the_share_and_the_source_stays_at_half(wanted: float, shown: float) -> None:
    config = DataConfig("T2", "FLAIR", 32, 8, False, True, target_share=wanted)
    pool, half = (Pool(c, 7, torch.device("cpu")) for c in (config, dataclasses.replace(config, target_share=0.5)))
    assert float(pool.mask.flatten(1).any(1).float().mean()) == shown
    assert torch.equal(pool.source, half.source)


def test_paired_both_domains_show_the_share() -> None:
    """Source and target are the same slices, so a healthy target has a healthy source."""
    healthy = DataConfig("T2", "FLAIR", 32, 4, True, True, target_share=0.0)
    free = dataclasses.replace(healthy, target_share=None, target_lesions=False)
    pool, expected = (Pool(c, 7, torch.device("cpu")) for c in (healthy, free))
    assert not pool.mask.any()
    assert torch.equal(pool.source, expected.source)
    assert torch.equal(pool.target, expected.target)


# Losses.


def _batch() -> Batch:
    g = torch.Generator().manual_seed(3)
    source, target = (torch.rand((2, 1, 16, 16), generator=g) * 2 - 1 for _ in range(2))
    return Batch(source, target, (target > 0).float(), torch.zeros((2, 7)))


def _trained(**options: float) -> tuple[Pix2Pix, list[torch.Tensor], dict[str, float], list[torch.Tensor]]:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        system = Pix2Pix(width=8, blocks=1, d_width=8, **options)  # type: ignore[arg-type]  # weights only
    before = [p.detach().clone() for p in system.discriminator.parameters()]
    losses = system.train().step(_batch())
    return system, before, losses, [p.detach() for p in system.generator.parameters()]


def test_without_adversarial_weight_nothing_is_judged() -> None:
    system, before, losses, _ = _trained(gan_weight=0.0, l1_weight=1.0)
    assert set(losses) == {"l1"}
    assert all(torch.equal(a, b) for a, b in zip(before, system.discriminator.parameters(), strict=True))


def test_a_weight_of_zero_takes_its_term_out_of_the_update() -> None:
    """Adam's first step is blind to the scale of a loss: the update by one term alone does not depend on its weight."""
    results = {
        "gan": _trained(l1_weight=0.0)[3],
        "gan, doubled": _trained(l1_weight=0.0, gan_weight=2.0)[3],
        "l1": _trained(gan_weight=0.0, l1_weight=1.0)[3],
        "both": _trained(l1_weight=1.0)[3],
    }

    def near(a: str, b: str) -> bool:
        moved = [(x - y).abs().max().item() for x, y in zip(results[a], results[b], strict=True)]
        return max(moved) < 5e-5

    assert near("gan", "gan, doubled")
    assert not near("gan", "l1")
    assert not near("gan", "both")
    assert not near("l1", "both")


# The plan.


def test_the_plan_has_an_arm_for_every_loss_and_share() -> None:
    chosen = _dose_arms.plan(size="cpu")
    assert [arm.name for arm in chosen.arms[:3]] == ["cyclegan-0", "cyclegan-0.25", "cyclegan-0.5"]
    assert len({arm.name for arm in chosen.arms}) == len(chosen.losses) * len(chosen.shares) == 15
    weights = {a.loss: (a.recipe.options.get("gan_weight"), a.recipe.options.get("l1_weight")) for a in chosen.arms}
    assert weights == {"cyclegan": (None, None), "cgan": (1.0, 0.0), "l1": (0.0, 1.0)}
    assert {arm.loss: arm.recipe.data.paired for arm in chosen.arms} == {"cyclegan": False, "cgan": True, "l1": True}
    assert all(arm.recipe.data.target_share == arm.share for arm in chosen.arms)
    # The holdout is the cohort's test partition, and the detector learnt from a partition of its own.
    assert {arm.recipe.data.partition for arm in chosen.arms} == {"train"}


def test_choices_take_the_place_of_the_file() -> None:
    chosen = _dose_arms.plan(size="gpu", seed=3, steps=9, shares="1, 0.5,0.5", losses="l1,cyclegan")
    assert (chosen.shares, list(chosen.losses)) == ((0.5, 1.0), ["cyclegan", "l1"])
    assert {(arm.recipe.seed, arm.recipe.steps) for arm in chosen.arms} == {(3, 9)}
    assert len(_dose_arms.plan(size="gpu").shares) == 11


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"size": "huge"}, "--size"),
        ({"losses": "cyclegan,wgan"}, "--losses"),
        ({"losses": ""}, "--losses"),
        ({"shares": "0,1.5"}, "--shares"),
        ({"shares": "half"}, "--shares"),
        ({"shares": ""}, "--shares"),
        ({"shares": "nan"}, "--shares"),
    ],
)
def test_a_choice_that_there_is_not_is_refused(wrong: dict[str, str], where: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _dose_arms.plan(**{"size": "cpu", **wrong})  # type: ignore[arg-type]  # text throughout
    error = caught.value
    assert error.where == where
    assert error.expected
    assert error.found == str(next(iter(wrong.values()))).removeprefix("cyclegan,")
    assert error.todo


# Counting.


class Planted:
    """Returns the real target image, but for tumours that it erases and inserts in the cases named."""

    def __init__(self, holdout: BrainPhantoms, erase: set[str], insert: set[str]) -> None:
        self.outputs: dict[bytes, np.ndarray] = {}
        for case in holdout.cases:
            images = holdout.load(case)
            assert images.target is not None
            out = images.target.copy()
            tissue = float(np.median(out[out > 0.2]))
            if case.case_id in erase:
                out[:, images.lesion_mask] = tissue
            if case.case_id in insert:
                y, x = np.ogrid[:64, :64]
                out[:, np.hypot(y - 26, x - 24) < 4.5] = 0.85
            self.outputs[images.image.tobytes()] = out

    def translate(self, x: np.ndarray, seed: int = 0) -> np.ndarray:
        return np.stack([self.outputs[image.tobytes()] for image in x])


@pytest.fixture(scope="module")
def holdout() -> BrainPhantoms:
    return BrainPhantoms(size=64, people=12)


@pytest.fixture(scope="module")
def detector() -> object:
    return load_subject("reference:detector-flair")


@pytest.fixture(scope="module")
def kinds(holdout: BrainPhantoms) -> tuple[list[str], list[str]]:
    """Cases with a tumour of 15 pixels or more, and cases without one."""
    pixels = {case.case_id: int(np.count_nonzero(holdout.load(case).lesion_mask)) for case in holdout.cases}
    return [c for c, n in pixels.items() if n >= 15], [c for c, n in pixels.items() if n == 0]


def read(holdout: BrainPhantoms, detector: object, erase: set[str], insert: set[str]) -> list[Slice]:
    planted = Planted(holdout, erase, insert)
    return read_slices(TranslationRun(planted, holdout, detector, LocalEngine(), 1))  # type: ignore[arg-type]


@pytest.mark.parametrize(("erased", "inserted"), [(0, 0), (3, 0), (0, 4), (3, 4)])
def test_planted_removals_and_insertions_are_counted(holdout, detector, kinds, erased: int, inserted: int) -> None:
    erase, insert = set(kinds[0][:erased]), set(kinds[1][:inserted])
    slices = read(holdout, detector, erase, insert)
    removed, gained = share(slices, OUTCOMES["removed"]), share(slices, OUTCOMES["inserted"])
    assert {s.case_id for s in slices if s.status == "removed"} == erase
    assert {s.case_id for s in slices if s.status == "inserted"} == insert
    assert (removed.k, gained.k, gained.n) == (erased, inserted, len(kinds[1]))
    assert removed.low <= removed.k / removed.n <= removed.high
    marked, real = share(slices, OUTCOMES["marked"]), share(slices, DETECTOR["marked"])
    assert marked.k == real.k - erased + inserted
    assert marked.n == len(holdout.cases)


def test_real_images_tell_what_the_detector_can(holdout, detector, kinds) -> None:
    slices = read(holdout, detector, set(kinds[0]), set(kinds[1]))
    # Whatever the translator did, the real images are judged by themselves.
    assert share(slices, DETECTOR["false_alarms"]).k == 0
    assert share(slices, DETECTOR["sensitivity"]).k >= len(kinds[0])


def test_contrast_and_error_of_planted_outputs(holdout, detector, kinds) -> None:
    faithful, erased = read(holdout, detector, set(), set()), read(holdout, detector, set(kinds[0]), set())
    assert median_recovery(faithful) == pytest.approx(1.0)
    kept = median_recovery(erased)
    assert kept is not None
    assert kept < 0.3
    # The image-level error outside lesions is blind to what happened inside.
    assert mean_error(faithful) == mean_error(erased) == 0.0


def _slice(number: int, **fields: object) -> Slice:
    plain = {"tumour": True, "marked": True, "status": "kept", "recovery": 1.0, "marked_real": True, "found_real": True}
    return Slice(case_id=f"c{number}", patient_id=f"p{number // 2}", error=0.1, **{**plain, **fields})  # type: ignore[arg-type]


def test_a_tumour_that_is_not_followed_counts_neither_as_kept_nor_as_removed() -> None:
    slices = [_slice(0), _slice(1, status="not followed"), _slice(2, status="removed", marked=False)]
    removed = share(slices, OUTCOMES["removed"])
    assert (removed.k, removed.n) == (1, 2)
    assert share(slices, OUTCOMES["marked"]).n == 3
    assert share(slices, OUTCOMES["inserted"]).value is None


def test_slices_of_one_patient_do_not_count_as_independent() -> None:
    """The same counts with both slices of a patient alike leave a wider interval than slices of as many patients."""
    alike = [_slice(k, status="removed" if k < 10 else "kept") for k in range(40)]
    apart = [dataclasses.replace(s, patient_id=s.case_id) for s in alike]
    clustered, independent = share(alike, OUTCOMES["removed"]), share(apart, OUTCOMES["removed"])
    assert clustered.value == independent.value
    assert clustered.high - clustered.low > independent.high - independent.low


# The whole run, small.


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real arms with narrow networks, few patients and the batch that they can bear."""
    whole = _dose_arms.plan

    def plan(**given: object) -> _dose_arms.Plan:
        chosen = whole(**given)  # type: ignore[arg-type]  # passed on
        arms = tuple(dataclasses.replace(arm, recipe=_small(arm.recipe)) for arm in chosen.arms)
        return dataclasses.replace(chosen, arms=arms, holdout=8)

    monkeypatch.setattr(dose_response, "plan", plan)


def _small(recipe):
    options = {**recipe.options, **NARROW, "d_width": 8}
    return dataclasses.replace(
        recipe, options=options, batch=2, data=dataclasses.replace(recipe.data, patients=2, size=32)
    )


def start(out: Path, **given: object) -> Path:
    return dose_response.run(out, **{"size": "cpu", "shares": "0,1", "steps": 2, **given})  # type: ignore[arg-type]


def without_times(path: Path) -> dict:
    content = json.loads(path.read_text())
    for arm in content["arms"]:
        del arm["minutes"], arm["model_sha256"]
    return content


class Killed(Exception):
    """What stops a run in the middle."""


@pytest.mark.usefixtures("small")
def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def kill(label: str, done: int, steps: int) -> None:
        if (label, done) == ("cgan-1", 1):
            raise Killed

    with pytest.raises(Killed):
        start(tmp_path / "killed", report=kill, losses="cgan,l1")
    finished = {p.name: p.read_bytes() for p in (tmp_path / "killed" / "arms").glob("*.json")}
    assert sorted(finished) == ["cgan-0.json"]
    assert not (tmp_path / "killed" / "dose_response.csv").exists()

    trained: list[str] = []
    start(tmp_path / "killed", report=lambda label, done, steps: trained.append(label), losses="cgan,l1")
    assert set(trained) == {"cgan-1", "l1-0", "l1-1"}
    assert all((tmp_path / "killed" / "arms" / name).read_bytes() == content for name, content in finished.items())

    start(tmp_path / "straight", losses="cgan,l1")
    assert without_times(tmp_path / "killed" / "dose_response.json") == without_times(
        tmp_path / "straight" / "dose_response.json"
    )
    assert (tmp_path / "killed" / "dose_response.csv").read_bytes() == (
        tmp_path / "straight" / "dose_response.csv"
    ).read_bytes()
    assert (tmp_path / "killed" / "examples.png").read_bytes() == (tmp_path / "straight" / "examples.png").read_bytes()
    assert not list((tmp_path / "killed").rglob("state.pt"))


@pytest.mark.usefixtures("small")
def test_what_a_run_writes(tmp_path: Path) -> None:
    figure = start(tmp_path, losses="cyclegan,l1")
    assert figure == tmp_path / "dose_response.svg"
    with (tmp_path / "dose_response.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == COLUMNS
    assert [(r["loss"], r["target_share"], r["outcome"]) for r in rows] == [
        (loss, dose, outcome) for loss in ("cyclegan", "l1") for dose in ("0.0", "1.0") for outcome in OUTCOMES
    ]
    for row in rows:
        assert 0 <= float(row["low"]) <= float(row["value"]) <= float(row["high"]) <= 1
        assert float(row["value"]) == pytest.approx(int(row["events"]) / int(row["slices"]), abs=1e-5)
        assert int(row["patients"]) <= int(row["slices"])

    found = json.loads((tmp_path / "dose_response.json").read_text())
    assert found["holdout"]["slices"] == 16
    assert found["holdout"]["slices_with_tumour"] == 8
    assert set(found["detector"]["real_images"]) == {"marked", "sensitivity", "false_alarms"}
    assert [(arm["loss"], arm["share"], arm["steps"]) for arm in found["arms"]] == [
        ("cyclegan", 0.0, 2),
        ("cyclegan", 1.0, 2),
        ("l1", 0.0, 2),
        ("l1", 1.0, 2),
    ]

    root = ET.fromstring(figure.read_text())
    words = [" ".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Slices with a marked lesion", "Tumours removed", "Tumours inserted"} <= set(words)
    # Two losses with a point for each share in each of three panels, and what each point says of itself.
    points = [e for e in root.iter("{http://www.w3.org/2000/svg}title") if e.text and " slices, " in e.text]
    assert len(points) == 2 * 2 * 3

    with Image.open(BytesIO((tmp_path / "examples.png").read_bytes())) as sheet:
        # Source, truth and two shares; two losses of three slices.
        assert sheet.size == (92 + 4 * 118, 26 + 6 * 118)
        assert np.asarray(sheet).std() > 10


@pytest.mark.usefixtures("small")
def test_an_arm_of_another_configuration_is_refused(tmp_path: Path) -> None:
    start(tmp_path, losses="l1", shares="0")
    for change in ({"steps": 3}, {"seed": 8}):
        with pytest.raises(ConfigurationError, match="another configuration") as caught:
            start(tmp_path, losses="l1", shares="0", **change)
        assert caught.value.where == str(tmp_path / "arms" / "l1-0.json")
        assert "2 steps, seed 7" in str(caught.value.found)
    # A share more is no other configuration.
    start(tmp_path, losses="l1", shares="0,0.5")


@pytest.mark.usefixtures("small")
def test_another_seed_gives_another_translator(tmp_path: Path) -> None:
    digests = set()
    for seed in (1, 2):
        start(tmp_path / str(seed), losses="l1", shares="0", seed=seed)
        found = json.loads((tmp_path / str(seed) / "dose_response.json").read_text())
        digests.add(json.dumps(found["arms"][0]["mean_error_outside_lesions"]))
    assert len(digests) == 2


@pytest.mark.usefixtures("small")
def test_an_output_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError) as caught:
        start(tmp_path / "file")
    assert caught.value.todo


def test_many_shares_are_thinned_out_on_the_sheet() -> None:
    from reference_models.experiments._dose_sheet import MANY, _thinned

    eleven = _dose_arms.plan(size="gpu").shares
    assert _thinned(eleven) == (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    assert len(_thinned(eleven)) == MANY
    assert _thinned((0.0, 1.0)) == (0.0, 1.0)


def test_the_experiment_is_listed_without_loading_torch() -> None:
    code = (
        "import sys\nfrom reference_models.experiments import experiments\n"
        "assert set(experiments()['dose-response'].options) == {'shares', 'losses'}\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=ROOT)
