"""`medgan-qa audit --suite augmentation` as users bring it: a set of images on disk, an expert reading, controls."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medgan_qa import rng
from medgan_qa.cli import _run
from medgan_qa.record import Record
from medgan_qa.subjects.stored import read_stored_set

SIZE = 32
READING = """schema = "medgan-qa/expert-reading/1"
question = "Would you train on it?"
protocol = "RP-004 A"
date = 2026-03-01
model_sha256 = "{sha}"
seen = {{synthetic = 40, real = 0, blinded = false}}
reader = [{{id = "R1", role = "radiologist", years = 9}}, {{id = "R2", role = "radiologist", years = 3}}]
result = [
  {{reader = "R1", synthetic_seen = 40, accepted = 40, unrealistic = 0, label_wrong = 0}},
  {{reader = "R2", synthetic_seen = 40, accepted = 39, unrealistic = 1, label_wrong = 0}},
]
"""


def disc(g: np.random.Generator, *, spot: bool) -> np.ndarray:
    """A disc with texture; a bright spot somewhere in it where there is one."""
    y, x = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
    body = 1 / (1 + np.exp(np.hypot(y - g.normal(), x - g.normal()) - 11 - g.normal()))
    image = body * (0.4 + 0.05 * np.cos(x / (3 + g.random())) + 0.02 * g.standard_normal((SIZE, SIZE)))
    if spot:
        at = g.uniform(-5, 5, size=2)
        image += 0.4 * np.exp(-(np.square(y - at[0]) + np.square(x - at[1])) / (2 * g.uniform(1.2, 2) ** 2))
    return np.clip(image, 0, 1).astype(np.float32)


def dataset(folder: Path, name: str, parts: dict[str, int], *, synthetic: bool = False) -> Path:
    """Images of label `spot` and `plain` in turn, each of its own patient, in the partitions asked for."""
    rows: list[dict[str, Any]] = []
    for part, count in parts.items():
        for k in range(count):
            spot = k % 2 == 0
            case = f"{name}-{part}-{k:03d}"
            np.save(folder / f"{case}.npy", disc(rng.child(0, case), spot=spot))
            row = {"case_id": case, "patient_id": case, "partition": part, "image": f"{case}.npy"}
            rows.append({**row, "synthetic": str(synthetic).lower(), "label": "spot" if spot else "plain"})
    with (folder / f"{name}.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    path = folder / f"{name}.toml"
    path.write_text(
        f'schema = "medgan-qa/dataset/1"\nname = "{name}"\ncases = "{name}.csv"\nvalue_range = [0.0, 1.0]\n'
        "spacing_mm = [1.0, 1.0]\n",
        encoding="utf-8",
    )
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("augmentation")
    dataset(folder, "real", {"train": 40, "test": 40})
    dataset(folder, "synthetic", {"train": 30}, synthetic=True)
    return folder


def audit(place: Path, out: Path, *more: str, suite: str = "augmentation") -> tuple[int, Record | None]:
    data = ["--data", str(place / "real.toml"), "--device", "cpu", "--no-cache"]
    code = _run(
        ["audit", str(place / "synthetic.toml"), "--suite", suite, *data, "--out", str(out), *more], debug=False
    )
    file = out / "record.json"
    return code, Record.from_json(file.read_text()) if file.exists() else None


@pytest.fixture(scope="module")
def ran(place: Path) -> tuple[int, Record, Path]:
    file, out = place / "experts.txt", place / "run"
    file.write_text(READING.format(sha=read_stored_set(place / "synthetic.toml").sha256), encoding="utf-8")
    code, record = audit(place, out, "--experts", str(file))
    assert record is not None
    return code, record, out


def result(record: Record, code: str) -> Any:
    return next(a for a in record.audits if a.code == code)


def test_a_stored_set_is_audited_from_disk_to_report(place, ran):
    code, record, out = ran

    assert code == 3
    assert record.subject["format"] == "stored set"
    assert record.subject["file"] == "synthetic.toml"
    assert record.run["samples"] == 30
    assert "error" not in {str(a.verdict) for a in record.audits}
    utility = {m.id: m.value for m in result(record, "UTL-001").measurements}
    assert utility["UTL-001.auc[synthetic]"] > 0.9
    assert utility["UTL-001.gan_test"] > 0.8
    assert result(record, "UTL-002").measurements[0].value < 0.1
    # A set of images neither repeats itself nor ignores anything.
    assert not any("latent" in said for said in record.deviations)
    assert (out / "report.pdf").stat().st_size > 10_000
    assert "stored set" in (out / "report.html").read_text(encoding="utf-8")
    with (out / "cases.csv").open(encoding="utf-8") as stream:
        assert {row["audit"] for row in csv.DictReader(stream)} >= {"UTL-001"}


def test_the_expert_reading_of_the_set_stands_in_the_record(place, ran):
    _, record, _ = ran

    assert str(result(record, "UTL-003").verdict) == "pass"
    assert record.run["experts"]["sha256"] == hashlib.sha256((place / "experts.txt").read_bytes()).hexdigest()
    assert record.run["experts"]["protocol"] == "RP-004 A"


def test_an_expert_reading_that_cannot_be_read_ends_with_2(place, tmp_path, capsys):
    (tmp_path / "experts.toml").write_text("schema = 1", encoding="utf-8")

    assert audit(place, tmp_path / "run", "--experts", str(tmp_path / "experts.toml"))[0] == 2
    assert "expert reading cannot be used" in capsys.readouterr().err


def test_more_samples_than_there_are_and_real_images_as_a_set_end_with_2(place, tmp_path, capsys):
    assert audit(place, tmp_path / "a", "--samples", "31")[0] == 2
    assert "More images were asked for than the stored set holds" in capsys.readouterr().err

    arguments = ["audit", str(place / "real.toml"), "--suite", "augmentation", "--out", str(tmp_path / "b")]
    assert _run(arguments, debug=False) == 2
    assert "no set of synthetic images" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_a_stored_set_is_no_translator(place, tmp_path, capsys):
    assert audit(place, tmp_path / "run", suite="translation")[0] == 2
    assert "for another task" in capsys.readouterr().err


def test_a_control_of_the_suite_that_there_is_not_ends_with_2(tmp_path, capsys):
    arguments = ["audit", "control:erased", "--suite", "augmentation", "--out", str(tmp_path / "x")]
    assert _run(arguments, debug=False) == 2
    assert "no control of that name" in capsys.readouterr().err
