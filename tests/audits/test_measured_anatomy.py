"""Measured anatomy: three kidneys and broken ribs in drawn torsos, and the sets of measures that can be named."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from medgan_qa import rng
from medgan_qa.audits import _measures
from medgan_qa.audits._measures import measure_sets, shows_heads
from medgan_qa.audits.catalogue import HEADINGS, Findings
from medgan_qa.audits.measured_anatomy import CODE, measured_anatomy
from medgan_qa.audits.run import NotFiniteError
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.cohorts.cohort import Case, CaseImages
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.controls import ThresholdDetector
from medgan_qa.controls.samplers import Fixed, Independent, planted_sampler
from medgan_qa.engines import LocalEngine
from medgan_qa.errors import ConfigurationError
from medgan_qa.record import Measurement
from medgan_qa.subjects.card import Card
from medgan_qa.subjects.protocols import SAMPLE_BATCH, Subject

Y, X = np.mgrid[:64, :64].astype(float)


def ellipse(cy: float, cx: float, ry: float, rx: float) -> np.ndarray:
    return ((Y - cy) / ry) ** 2 + ((X - cx) / rx) ** 2 <= 1


def torso(g: np.random.Generator, kidneys: int = 2, gap: float = 0.0) -> np.ndarray:
    """Body, six ribs (one with a gap of 2 `gap` degrees), spine and kidneys, a little different each time."""
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
    noisy = ndimage.gaussian_filter(image, 0.6) + g.normal(0, 0.015, image.shape)
    return np.clip(noisy, 0, 1).astype(np.float32)


class Torsos:
    """Drawn torsos, one a patient."""

    name, value_range, source_domain, target_domain, lesion_in, phantom = "torsos", (0.0, 1.0), "CT", None, (), True

    def __init__(self, train: int, test: int) -> None:
        parts = [("train", k) for k in range(train)] + [("test", k) for k in range(test)]
        self.cases = tuple(
            Case(f"{part}-{k}", f"{part}-patient-{k}", part, has_target=False, annotated=False, has_mask=False)  # type: ignore[arg-type]
            for part, k in parts
        )

    def load(self, case: Case) -> CaseImages:
        image = torso(rng.child(1, "torso", case.case_id))[None]
        return CaseImages(image=image, target=None, lesion_mask=None, spacing_mm=(2.0, 2.0))


@dataclass(frozen=True)
class TorsoNetwork:
    """A share `dose` of the torsos has three kidneys or a broken rib."""

    dose: float = 0.0
    kidneys: int = 2
    gap: float = 0.0

    def planted(self, z: np.ndarray) -> bool:
        return bool(self._generator(z).random() < self.dose)

    def __call__(self, x: np.ndarray, seed: int) -> np.ndarray:
        return np.stack([self._drawn(z)[None] for z in x])

    def _generator(self, z: np.ndarray) -> np.random.Generator:
        return rng.child(int.from_bytes(hashlib.sha256(z.tobytes()).digest()[:8], "big"), "torso")

    def _drawn(self, z: np.ndarray) -> np.ndarray:
        g = self._generator(z)
        return torso(g, self.kidneys, self.gap) if g.random() < self.dose else torso(g)


def sampler(network: Any) -> Subject:
    card = Card(
        name="torsos",
        version="1",
        task="synthesis",
        channels_in=1,
        channels_out=1,
        range_in=(0.0, 1.0),
        range_out=(0.0, 1.0),
        latent_dim=4,
        output_role="training_only",
        training_data="none",
    )
    return Subject(network, card, Path("torsos"), "control", "0" * 64, "cpu")


def torsos(network: Any, *, train: int = 150, test: int = 100, samples: int = 200) -> SynthesisRun:
    return SynthesisRun(sampler(network), Torsos(train, test), None, LocalEngine(), 0, samples=samples)  # type: ignore[arg-type]


@cache
def audited(network: TorsoNetwork) -> tuple[SynthesisRun, Findings]:
    run = torsos(network)
    return run, measured_anatomy(run)


@cache
def heads() -> BrainSlices:
    return BrainSlices(people=50)


def of_heads(plan: Any, detector: Subject | None = None, samples: int = 30) -> SynthesisRun:
    return SynthesisRun(planted_sampler(heads(), plan), heads(), detector, LocalEngine(), 0, samples=samples)


def by_id(findings: Findings) -> dict[str, Measurement]:
    return {e.measurement.id.removeprefix(f"{CODE}."): e.measurement for e in findings.estimates}


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Register measures as an installed package would."""

    def register(*points: tuple[str, Any]) -> None:
        def load(found: Any) -> Any:
            if isinstance(found, Exception):
                raise found
            return found

        made = [
            SimpleNamespace(name=name, value=f"package:{name}", load=lambda found=found: load(found))
            for name, found in points
        ]
        monkeypatch.setattr(_measures, "entry_points", lambda group: made if group == _measures.GROUP else [])

    return register


# What is found


@pytest.mark.parametrize(
    ("network", "least"),
    [(TorsoNetwork(0.05, kidneys=3), 0.85), (TorsoNetwork(0.2, gap=7.0), 0.85)],
    ids=["three kidneys in one of twenty", "a broken rib in one of five"],
)
def test_finds_the_planted_share_of_impossible_torsos(network: TorsoNetwork, least: float) -> None:
    run, findings = audited(network)
    latent = [rng.child(0, "latent", k).standard_normal((SAMPLE_BATCH, 4)) for k in range(0, 200, SAMPLE_BATCH)]
    planted = np.array([network.planted(z) for z in np.concatenate(latent)[:200].astype(np.float32)])
    listed = {row["case_id"] for row in findings.rows}
    flagged = np.array([name in listed for name in run.sampled.names])
    found = by_id(findings)["out_of_range_rate"]
    assert found.interval.low <= network.dose <= found.interval.high
    assert flagged[planted].mean() >= least
    assert flagged[~planted].mean() <= 0.04


def test_names_the_measure_that_is_out() -> None:
    _, findings = audited(TorsoNetwork(0.2, gap=7.0))
    found = by_id(findings)
    assert found["out_of_range_rate[generic.components_2]"].value > 0.1
    assert "generic.components_2" in findings.rows[0]["beyond"]
    ks, null = found["ks[generic.components_2]"], found["ks[generic.components_2, real against real]"]
    assert ks.interval.low > null.interval.high


def test_other_torsos_are_in_range() -> None:
    _, findings = audited(TorsoNetwork())
    found = by_id(findings)
    assert found["out_of_range_rate"].value <= 0.03
    assert found["out_of_range_rate[real test images]"].value <= 0.05
    for name, m in found.items():
        if name.startswith(("ks[", "wasserstein[")) and m.interval is not None:
            assert m.interval.low is None or 0 <= m.interval.low <= m.value <= m.interval.high


def test_other_heads_are_in_range_and_constant_ones_are_not() -> None:
    # One sample in two is constant.
    run = of_heads(Fixed(0.5, dose=0.5), samples=40)
    findings = measured_anatomy(run)
    found = by_id(findings)
    constant = np.ptp(run.sampled.grey, axis=(1, 2)) == 0
    outside = np.array([row["outside"] for row in next(iter(findings.tables.values()))])
    assert outside[constant].all()
    assert outside[~constant].mean() <= 0.1
    assert {"out_of_range_rate[brain.head_area]", "ks[brain.ring_gap]", "wasserstein[generic.euler_1]"} <= set(found)


def test_a_segmenter_s_marks_are_measured() -> None:
    class Everywhere:
        def __call__(self, x: np.ndarray, seed: int) -> np.ndarray:
            return np.full_like(x, np.nan)

    detector = ThresholdDetector().subject()
    findings = measured_anatomy(of_heads(Independent(), detector, samples=10), measures="mask")
    assert {"out_of_range_rate[mask.components]", "ks[mask.total_area]"} <= set(by_id(findings))
    broken = Subject(Everywhere(), detector.card, detector.path, "control", detector.sha256, "cpu")
    with pytest.raises(Exception, match="NaN or infinity"):
        measured_anatomy(of_heads(Independent(), broken, samples=10), measures="mask")


def test_samples_that_are_no_numbers_are_not_measured() -> None:
    with pytest.raises(NotFiniteError):
        measured_anatomy(of_heads(Fixed(float("nan"))))


def test_tables_and_exhibits_hold_what_was_measured() -> None:
    run, findings = audited(TorsoNetwork(0.2, gap=7.0))
    [table] = findings.tables.values()
    assert [row["case_id"] for row in table] == list(run.sampled.names)
    assert sum(row["outside"] for row in table) == len(findings.rows)
    kinds = {exhibit.id: exhibit for exhibit in findings.exhibits}
    assert {len(row) for row in kinds[f"{CODE}-measures"].data["rows"]} == {8}
    cases = kinds[f"{CODE}-samples"].data["cases"]
    assert [case["rule"] for case in cases] == ["worst"] * 8 + ["random"] * 4
    assert "real" in cases[0]["label"]


# Which measures


@pytest.mark.parametrize(
    ("source", "target", "shown"),
    [
        ("FLAIR", None, True),
        ("t1", None, True),
        ("T1w", None, True),
        ("T2", "flair", True),
        ("T2", None, False),
        ("T10", None, False),
        ("ten modes", None, False),
        (None, None, False),
    ],
)
def test_heads_are_measured_where_the_contrast_is_theirs(source: str | None, target: str | None, shown: bool) -> None:
    assert shows_heads(SimpleNamespace(source_domain=source, target_domain=target)) is shown  # type: ignore[arg-type]


def test_auto_takes_what_applies() -> None:
    def chosen(run: SynthesisRun) -> list[str]:
        return [kind.name for kind in measure_sets(CODE, "auto", run)]

    assert chosen(torsos(TorsoNetwork())) == ["generic"]
    assert chosen(of_heads(Independent())) == ["generic", "brain"]
    assert chosen(of_heads(Independent(), ThresholdDetector().subject())) == ["generic", "brain", "mask"]


def test_prop_the_order_of_the_sets_changes_nothing() -> None:
    run = torsos(TorsoNetwork(), train=99, test=10, samples=10)
    first, second = (by_id(measured_anatomy(run, measures=m)) for m in ("generic, brain", "brain,generic,,brain"))
    assert first.keys() == second.keys()
    assert all(first[name].value == second[name].value for name in first)


@pytest.mark.parametrize("asked", ["kidney", "generic, kidney", "", " , "])
def test_unknown_measures_are_refused_with_what_there_is(asked: str) -> None:
    with pytest.raises(ConfigurationError, match="measures") as refused:
        measured_anatomy(torsos(TorsoNetwork()), measures=asked)
    assert "brain, generic, mask" in str(refused.value)


def test_measures_of_an_installed_package(registered: Any) -> None:
    registered(("bright", lambda image, spacing: {"area": float((image > 0.8).sum()) * spacing[0], "two": 2.0}))
    run = torsos(TorsoNetwork(), samples=30)
    found = by_id(measured_anatomy(run, measures="bright"))
    assert found["out_of_range_rate[bright.area]"].value <= 0.1
    assert found["ks[bright.two]"].value == 0.0


def test_a_measure_that_never_varies_in_patients_has_no_standard_deviation(registered: Any) -> None:
    run = torsos(TorsoNetwork(1.0, kidneys=3), samples=30)
    images = {image.tobytes() for image in run.sampled.grey}
    registered(("kidneys", lambda image, spacing: {"count": 3.0 if image.tobytes() in images else 2.0}))
    found = by_id(measured_anatomy(run, measures="kidneys"))
    assert found["out_of_range_rate[kidneys.count]"].value == 1.0
    assert found["ks[kidneys.count]"].value == 1.0
    assert found["wasserstein[kidneys.count]"].value is None
    assert "does not vary" in found["wasserstein[kidneys.count]"].reason


def test_a_package_that_fails_is_named(registered: Any) -> None:
    registered(("broken", ImportError("no such module")))
    with pytest.raises(ConfigurationError, match="broken"):
        measured_anatomy(torsos(TorsoNetwork()), measures="broken")
    registered(("generic", None))
    with pytest.raises(ConfigurationError, match="twice"):
        measured_anatomy(torsos(TorsoNetwork()))


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (lambda image, spacing: {"a": float("nan")}, "finite"),
        (lambda image, spacing: {f"a{image[32, 20] > 0.4}": 1.0}, "other names"),
    ],
)
def test_measures_that_give_no_table_break_the_audit(registered: Any, measure: Any, message: str) -> None:
    registered(("odd", measure))
    with pytest.raises(ValueError, match=message):
        measured_anatomy(torsos(TorsoNetwork(), samples=20), measures="odd")


# Too little, or nothing


def test_too_few_real_images_say_how_many_are_needed() -> None:
    findings = measured_anatomy(torsos(TorsoNetwork(), train=98))
    assert "98 real images" in findings.missing
    assert "99 are needed" in findings.missing


def test_one_real_test_image_is_too_few() -> None:
    assert "1 test patients" in measured_anatomy(torsos(TorsoNetwork(), test=1)).missing


def test_the_mask_needs_a_segmenter() -> None:
    assert "--detector" in measured_anatomy(torsos(TorsoNetwork()), measures="mask").missing


def test_identical_real_images_leave_no_range(monkeypatch: pytest.MonkeyPatch) -> None:
    one = torso(rng.child(0, "one"))[None]
    same = CaseImages(image=one, target=None, lesion_mask=None, spacing_mm=(2.0, 2.0))
    monkeypatch.setattr(Torsos, "load", lambda self, case: same)
    found = by_id(measured_anatomy(torsos(TorsoNetwork(), train=99, test=20, samples=10)))
    assert found["out_of_range_rate"].value == 1.0
    assert found["out_of_range_rate[real test images]"].value == 0.0


def test_the_documentation_has_its_headings() -> None:
    document = measured_anatomy.__doc__ or ""
    assert [document.index(heading) for heading in HEADINGS] == sorted(document.index(h) for h in HEADINGS)
