"""A finished run of a translation model that loses some lesions: every kind of exhibit, verdict and missing value.

`record.json` is a Record as the first version of the schema had it; `full.json` holds what was added since.
"""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from medgan_qa.digests import canonical_json, file_sha256
from medgan_qa.record import Record
from medgan_qa.rng import child

SIDE = 48
RunMaker = Callable[..., Record]


def head(seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A head of ellipses and the mask of a lesion in it, both of shape (SIDE, SIDE)."""
    rng = child(seed, "report test", "head")
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    skull, brain = (x / 19) ** 2 + (y / 22) ** 2 < 1, (x / 16.5) ** 2 + (y / 19.5) ** 2 < 1
    ventricle = ((np.abs(x) - 3.5) / 2.2) ** 2 + ((y + 1) / 7) ** 2 < 1
    texture = 0.08 * gaussian_filter(rng.normal(size=x.shape), 2.0)
    image = gaussian_filter(np.clip(0.85 * skull - 0.4 * brain - 0.3 * (ventricle & brain) + texture, 0, 1), 0.6)
    angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(1.8, 3.4)
    return image, np.hypot(x - 10 * np.cos(angle), y - 12 * np.sin(angle)) < radius


def panel_arrays(count: int) -> dict[str, NDArray[Any]]:
    """The arrays of a panel exhibit: lesions lost, weakened and kept in turn."""
    rows: dict[str, list[NDArray[Any]]] = {key: [] for key in ("source", "output", "reference", "lesion", "reading")}
    for index in range(count):
        image, mask = head(index)
        kept = (0.0, 0.3, 1.0)[index % 3]
        lesion = gaussian_filter(0.4 * mask, 0.7)
        noise = gaussian_filter(0.05 * child(index, "report test", "noise").normal(size=image.shape), 1.0)
        rows["source"].append(np.clip(0.9 - image, 0, 1) * (image > 0.04) + 0.5 * lesion)
        rows["reference"].append(image + lesion)
        rows["output"].append(image + kept * lesion + noise)
        rows["lesion"].append(mask)
        rows["reading"].append(np.roll(mask, 1, axis=1) & (kept == 1.0))
    return {key: np.stack(value) for key, value in rows.items()}


def write_cases(path: Path, count: int) -> None:
    """A case table of three audits, each with columns of its own."""
    own = {
        "PAT-001": ("fate", "contrast_recovery", "diameter_mm", "found_in_output"),
        "FID-010": ("psnr_db", "ssim"),
        "GEO-001": ("shift_mm",),
    }
    rng = child(5, "report test", "cases")
    with path.open("w", newline="", encoding="utf-8") as stream:
        columns = [name for names in own.values() for name in names]
        writer = csv.DictWriter(stream, ["audit", "case_id", "patient_id", "partition", *columns], restval="")
        writer.writeheader()
        for audit, names in own.items():
            for index in range(count):
                row: dict[str, Any] = {name: rng.normal(0.9, 0.2) for name in names}
                row |= {"fate": ("lost", "weakened", "kept")[index % 3], "found_in_output": index % 3 > 0}
                row = {name: row[name] for name in names} | {"audit": audit, "partition": "test"}
                writer.writerow(row | {"case_id": f"case-{index:04d}", "patient_id": f"patient-{index // 2:03d}"})


def write_criteria(folder: Path) -> None:
    """The criteria of the run, as a file, as canonical content and with a lock."""
    text = 'schema = "medgan-qa/criteria/1"\n\n[[criterion]]\nid = "AC-01"  # kept <as it stands>\n'
    (folder / "criteria.toml").write_text(text, encoding="utf-8")
    (folder / "criteria.json").write_bytes(canonical_json(tomllib.loads(text)))
    (folder / "criteria.lock.json").write_bytes(canonical_json({"schema": "medgan-qa/lock/1"}))


def full() -> dict[str, Any]:
    """What a Record of today holds beyond the first version of its schema."""
    content: dict[str, Any] = json.loads((Path(__file__).parent / "full.json").read_text(encoding="utf-8"))
    return content


def build_run(folder: Path, cases: int = 8, panel_cases: int = 3, **changes: Any) -> Record:
    """Write a run into `folder` and return its Record; `changes` take the place of the Record's own fields."""
    content = json.loads((Path(__file__).parent / "record.json").read_text(encoding="utf-8")) | changes
    for exhibit in (exhibit for audit in content["audits"] for exhibit in audit["exhibits"]):
        if exhibit["kind"] == "panels":
            shown = exhibit["data"]["cases"]
            exhibit["data"]["cases"] = [
                {**shown[index % len(shown)], "case_id": f"case-{index:04d}"} for index in range(panel_cases)
            ]
            (folder / exhibit["file"]).parent.mkdir(parents=True, exist_ok=True)
            np.savez(folder / exhibit["file"], **panel_arrays(panel_cases))
    write_cases(folder / "cases.csv", cases)
    if "criteria_lock" in changes and content["criteria_lock"].get("locked"):
        write_criteria(folder)
    if "files" not in changes and "context" in changes:
        evidence = sorted(path for path in folder.rglob("*") if path.is_file())
        content["files"] = {path.relative_to(folder).as_posix(): file_sha256(path) for path in evidence}
    record = Record.model_validate(content)
    (folder / "record.json").write_text(record.to_json(), encoding="utf-8")
    return record


@pytest.fixture
def make_run(tmp_path: Path) -> RunMaker:
    def make(cases: int = 8, panel_cases: int = 3, **changes: Any) -> Record:
        return build_run(tmp_path, cases, panel_cases, **changes)

    return make


@pytest.fixture
def make_full_run(tmp_path: Path) -> RunMaker:
    def make(cases: int = 8, panel_cases: int = 3, **changes: Any) -> Record:
        return build_run(tmp_path, cases, panel_cases, **{**full(), **changes})

    return make
