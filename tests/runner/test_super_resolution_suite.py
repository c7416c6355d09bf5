"""The suite of super-resolution from end to end: planted controls, and small networks on datasets on disk."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from medgan_qa.cohorts.dataset import read_dataset
from medgan_qa.cohorts.phantom import BrainTruths
from medgan_qa.controls import ThresholdDetector
from medgan_qa.controls.super_resolvers import CONTROLS
from medgan_qa.criteria import catalogue
from medgan_qa.engines import LocalEngine
from medgan_qa.errors import ModelError
from medgan_qa.metrics.degradation import declared
from medgan_qa.runner import run_audit
from medgan_qa.subjects.load import load_subject
from medgan_qa.suites import suite

OWN = ("CON-001", "CON-002", "PAT-001", "PAT-002", "PAT-003")
WHOLE = suite("super-resolution")
SUITE = replace(
    WHOLE,
    audits=tuple(audit for audit in WHOLE.audits if audit.code in OWN),
    criteria=replace(
        WHOLE.criteria, declared=tuple(d for d in WHOLE.criteria.declared if d.measurement.startswith(OWN))
    ),
)
DETECTOR = ThresholdDetector().subject()

CARD = """schema = "medgan-qa/card/1"
name = "small upscaler"
version = "1"
task = "super-resolution"
channels_in = 1
channels_out = 1
range_in = [0.0, 1.0]
range_out = [0.0, 1.0]
"""


@cache
def phantoms():
    data = BrainTruths(people=60, size=48)
    data.load = cache(data.load)
    return data


def audited(subject, cohort, detector=DETECTOR):
    return run_audit(subject, cohort, SUITE, SUITE.criteria, detector=detector, engine=LocalEngine()).record


def verdicts(record):
    return {c.measurement: c.verdict.value for a in record.audits for c in a.criteria}


def test_every_audit_of_the_suite_controls_a_hazard():
    told = {code for hazard in catalogue().values() for code in hazard.audits}
    assert {"CON-001", "CON-002"} <= {a.code for a in WHOLE.audits} & told


@pytest.mark.parametrize("name", ["faithful", "consistent"])
def test_negative_control_a_faithful_model_passes(name):
    record = audited(CONTROLS[name].make(phantoms()), phantoms())
    assert record.verdict.value == "pass", record.reason
    assert record.run["degradation"] == declared({"noise_sd": 0.01}, (2, 2)).as_dict()
    assert record.subject["card"]["degradation"] == {"noise_sd": 0.01}


@pytest.mark.parametrize(
    ("name", "failed"),
    [
        ("null-texture", "CON-002.invented_object_rate"),
        ("bias-2", "CON-001.inconsistent_rate"),
        ("eraser", "PAT-001.removal_rate"),
        ("bicubic", "CON-001.inconsistent_rate"),
    ],
)
def test_positive_control_a_planted_fault_fails_where_it_should(name, failed):
    record = audited(CONTROLS[name].make(phantoms()), phantoms())
    assert record.verdict.value == "fail"
    assert verdicts(record)[failed] == "fail"
    if name == "null-texture":
        assert verdicts(record)["CON-001.inconsistent_rate"] == "pass"


class Shuffled(nn.Module):
    """Sub-pixel convolution that repeats pixels: what an untrained upscaler of this kind may start from."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.spread = nn.Conv2d(1, factor**2, 1, bias=False)
        self.shuffle = nn.PixelShuffle(factor)
        nn.init.ones_(self.spread.weight)

    def forward(self, x):
        return self.shuffle(self.spread(x))


class Thickened(nn.Module):
    """A transposed convolution that makes three rows of each."""

    def __init__(self) -> None:
        super().__init__()
        self.spread = nn.ConvTranspose2d(1, 1, (3, 1), stride=(3, 1), bias=False)
        nn.init.ones_(self.spread.weight)

    def forward(self, x):
        return self.spread(x)


def saved(folder, module, keys):
    path = folder / "model.pt"
    traced = torch.jit.trace(module.eval(), torch.rand(2, 1, 8, 8))
    torch.jit.save(traced, str(path), _extra_files={"medgan_qa_card.toml": CARD + keys})
    return load_subject(str(path))


def written(folder, operator, keys):
    """A dataset of phantoms: inputs with their truths, or the truths alone where there is no operator."""
    lines = ["case_id,patient_id,partition,image,target,lesion_mask,annotated"]
    cohort = phantoms()
    for case in cohort.cases[:16]:
        images, name = cohort.load(case), case.case_id
        np.save(folder / f"{name}-hr.npy", images.image[0])
        np.save(folder / f"{name}-mask.npy", images.lesion_mask)
        given, target = f"{name}-hr.npy", ""
        if operator is not None:
            np.save(folder / f"{name}-lr.npy", operator.apply(images.image[0]).astype(np.float32))
            given, target = f"{name}-lr.npy", f"{name}-hr.npy"
        lines.append(f"{name},{case.patient_id},test,{given},{target},{name}-mask.npy,true")
    (folder / "cases.csv").write_text("\n".join(lines))
    head = 'schema = "medgan-qa/dataset/1"\nname = "on disk"\ncases = "cases.csv"\nvalue_range = [0.0, 1.0]\n'
    (folder / "data.toml").write_text(head + keys)
    return read_dataset(folder / "data.toml")


def test_a_real_network_on_inputs_with_their_truths(tmp_path):
    cohort = written(tmp_path, declared({}, (2, 2)), "scale = 2\nspacing_mm = [8.0, 8.0]")
    record = audited(saved(tmp_path, Shuffled(2), "scale = 2\n[degradation]\n"), cohort)
    measured = {m.id: m for a in record.audits for m in a.measurements}
    assert measured["CON-001.residual_db"].value > 90
    assert measured["CON-001.inconsistent_rate"].value == 0
    assert measured["CON-002.invented_object_rate"].value == 0
    assert measured["CON-002.recovered_share"].value == pytest.approx(0, abs=1e-6)
    assert measured["PAT-003.contrast_recovery"].value > 0.7
    assert {a.code for a in record.audits} == set(OWN)
    assert all(a.verdict.value != "error" for a in record.audits)


def test_a_real_network_on_truths_that_are_degraded(tmp_path):
    cohort = written(tmp_path, None, "degrade = true\nspacing_mm = [4.0, 4.0]")
    record = audited(saved(tmp_path, Thickened(), "scale = [3, 1]\n[degradation]\nnoise_sd = 0.01\n"), cohort)
    measured = {m.id: m for a in record.audits for m in a.measurements}
    assert measured["CON-001.inconsistent_rate"].value == 0
    assert measured["CON-001.truth_inconsistent_rate"].value == 0
    assert measured["CON-002.missing_energy"].value == pytest.approx(1, abs=1e-6)
    assert record.run["degradation"]["scale"] == [3, 1]


def test_without_a_declared_degradation_consistency_is_inconclusive(tmp_path):
    cohort = written(tmp_path, declared({}, (2, 2)), "scale = 2")
    record = audited(saved(tmp_path, Shuffled(2), "scale = 2\n"), cohort)
    by_code = {a.code: a for a in record.audits}
    for code in ("CON-001", "CON-002"):
        assert by_code[code].verdict.value == "inconclusive"
        assert "[degradation]" in by_code[code].reason
    assert by_code["PAT-003"].verdict.value != "error"
    assert record.verdict.value == "inconclusive"


def test_a_malformed_degradation_is_named(tmp_path):
    with pytest.raises(ModelError, match="degradation is malformed") as caught:
        saved(tmp_path, Shuffled(2), 'scale = 2\n[degradation]\nprofile = "sinc"\n')
    assert "profile must be one of box, gaussian, point" in caught.value.found
