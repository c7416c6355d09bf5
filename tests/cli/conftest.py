"""A small dataset and TorchScript models, as a user would write them."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

SIZE = 32


@pytest.fixture(scope="module", autouse=True)
def quick_suites() -> Iterator[pytest.MonkeyPatch]:
    """The translation suite with its four first audits by default, so that a test of the command line takes a second.

    `quick_suites.undo()` gives a test the suites as they are shipped, for the rest of its module.
    """
    import medgan_qa.suites as suites

    shipped = suites.suite

    def quick(name: str) -> suites.Suite:
        whole = shipped(name)
        if name != "translation":
            return whole
        first = replace(whole.criteria, declared=whole.criteria.declared[:3])
        return replace(whole, audits=whole.audits[:4], optional=whole.audits[4:], criteria=first)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suites, "suite", quick)
        yield patch


def _card(path: Path, task: str, channels: int = 1) -> None:
    path.with_suffix("").with_suffix(".card.toml").write_text(
        f'schema = "medgan-qa/card/1"\nname = "{path.stem}"\nversion = "1"\ntask = "{task}"\n'
        f"channels_in = {channels}\nchannels_out = 1\nrange_in = [0.0, 1.0]\nrange_out = [0.0, 1.0]\n"
    )


class _Power(torch.nn.Module):
    def forward(self, x):
        return x.clamp(min=0) ** 1.5


class _Eraser(torch.nn.Module):
    def forward(self, x):
        return x.clamp(0, 0.45) ** 1.5


class _Half(torch.nn.Module):
    def forward(self, x):
        return x[..., ::2, ::2]


class _Nan(torch.nn.Module):
    def forward(self, x):
        return x * float("nan")


class _Detector(torch.nn.Module):
    def forward(self, x):
        return (torch.nn.functional.avg_pool2d(x, 3, 1, 1) - 0.4) * 40


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data.toml` (64 cases of 32 patients) and a model a kind of behaviour."""
    folder = tmp_path_factory.mktemp("workshop")
    _write_dataset(folder, people=32)
    models = {"faithful": _Power(), "eraser": _Eraser(), "half": _Half(), "nan": _Nan(), "threechannel": _Power()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, model in {**models, "detector": _Detector()}.items():
            torch.jit.trace(model, torch.rand(1, 1, SIZE, SIZE)).save(str(folder / f"{name}.pt"))
            _card(
                folder / f"{name}.pt",
                "segmentation" if name == "detector" else "translation",
                3 if name == "threechannel" else 1,
            )
    return folder


def _write_dataset(folder: Path, people: int) -> None:
    g = np.random.default_rng(1)
    rows, columns = np.indices((SIZE, SIZE))
    table = []
    for person in range(people):
        for part in (0, 1):
            name = f"p{person:02d}-{part}"
            body = np.hypot(rows - 16, columns - 16) < 13
            image = np.where(body, 0.4, 0.02) + g.normal(0, 0.005, body.shape)
            lesion = np.hypot(rows - g.integers(11, 21), columns - g.integers(11, 21)) < 3
            image[lesion & (part == 0)] += 0.3
            source = (image.clip(0, 1) * 4095).astype(np.uint16)
            Image.fromarray(source).save(folder / f"{name}.png")
            np.save(folder / f"{name}.npy", ((source / 4095.0) ** 1.5 * 4095).astype(np.float32))
            mask = ""
            if part == 0:
                mask = f"{name}-mask.png"
                Image.fromarray(lesion.astype(np.uint8) * 255).save(folder / mask)
            row = {"case_id": name, "patient_id": f"{person:03d}", "partition": "test", "image": f"{name}.png"}
            table.append({**row, "target": f"{name}.npy", "lesion_mask": mask, "annotated": "true"})
    with (folder / "cases.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    (folder / "data.toml").write_text(
        'schema = "medgan-qa/dataset/1"\nname = "workshop"\ncases = "cases.csv"\nvalue_range = [0.0, 4095.0]\n'
        'spacing_mm = [1.0, 1.0]\nsource_domain = "T2"\ntarget_domain = "FLAIR"\nlesion_in = ["source", "target"]\n'
    )


@pytest.fixture
def changed(workshop: Path) -> Callable[..., Path]:
    """The dataset with its table changed: `changed("name", lambda text: ...)` gives the TOML file of the copy."""

    def change(name: str, edit: Callable[[str], str]) -> Path:
        (workshop / f"{name}.csv").write_text(edit((workshop / "cases.csv").read_text()))
        description = (workshop / "data.toml").read_text().replace("cases.csv", f"{name}.csv")
        (workshop / f"{name}.toml").write_text(description)
        return workshop / f"{name}.toml"

    return change
