"""`medgan-qa audit --suite synthesis` on files and models as a user brings them, odd ones included."""

from __future__ import annotations

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medgan_qa.cli import _run
from medgan_qa.record import Record

SIZE = 32


class _Blobs(torch.nn.Module):
    """A disc with a gradient whose place, size and grain follow the latent vector."""

    def __init__(self, channels: int = 1, size: int = SIZE) -> None:
        super().__init__()
        self.channels, self.size = channels, size

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        axis = torch.arange(self.size, dtype=torch.float32) - (self.size - 1) / 2
        y, x = axis[None, :, None], axis[None, None, :]
        dy, dx = 1.5 * torch.tanh(z[:, 0, None, None]), 1.5 * torch.tanh(z[:, 1, None, None])
        radius = 10.0 + torch.tanh(z[:, 2, None, None])
        body = torch.sigmoid(radius - torch.sqrt((y - dy) ** 2 + (x - dx) ** 2 + 1e-3))
        inside = (
            0.45
            + 0.08 * torch.tanh(z[:, 3, None, None]) * torch.cos(x / 4)
            + 0.08 * torch.sin(y / 3 + z[:, 4, None, None])
        )
        grain = torch.sin(x * (2.0 + z[:, 5, None, None]) + y * (3.0 + z[:, 6, None, None]) + 7.0 * z[:, 7, None, None])
        return (body * inside + 0.02 * grain + 0.03)[:, None].repeat(1, self.channels, 1, 1)


class _Same(_Blobs):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return super().forward(torch.ones(1, 8)).repeat(z.shape[0], 1, 1, 1)


class _Restless(_Blobs):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return super().forward(z) + 0.05 * torch.bernoulli(
            torch.full((z.shape[0], self.channels, self.size, self.size), 0.1)
        )


class _Infinite(_Blobs):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        image = super().forward(z)
        return torch.where(z[:, 0, None, None, None] > 0, image, image / 0.0)


class _Vector(torch.nn.Module):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z


class _Unseeded(_Blobs):
    """Its noise does not come from torch's seed but from a counter in the module."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return super().forward(z) + 0.01 * self.count


def save(folder: Path, name: str, model: torch.nn.Module, channels: int = 1) -> Path:
    path = folder / f"{name}.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(model, torch.randn(3, 8), check_trace=False).save(str(path))
    path.with_suffix("").with_suffix(".card.toml").write_text(
        f'schema = "medgan-qa/card/1"\nname = "{name}"\nversion = "1"\ntask = "synthesis"\nlatent_dim = 8\n'
        f"channels_out = {channels}\nrange_out = [0.0, 1.0]\n"
    )
    return path


def dataset(folder: Path, name: str, images: np.ndarray, test: int) -> Path:
    """16-bit PNG (grey) or 8-bit PNG (RGB): the first `test` images are the test partition, the rest train."""
    rows = []
    for k, image in enumerate(images):
        file = f"{name}-{k:03d}.png"
        if image.shape[0] == 3:
            Image.fromarray(np.rint(255 * image.transpose(1, 2, 0)).astype(np.uint8)).save(folder / file)
        else:
            Image.fromarray(np.rint(4095 * image[0]).astype(np.uint16)).save(folder / file)
        part = "test" if k < test else "train"
        rows.append(
            {"case_id": f"c{k:03d}", "patient_id": f"p{k:03d}", "partition": part, "image": file, "annotated": "false"}
        )
    with (folder / f"{name}.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    high = 255 if images.shape[1] == 3 else 4095
    path = folder / f"{name}.toml"
    path.write_text(
        f'schema = "medgan-qa/dataset/1"\nname = "{name}"\ncases = "{name}.csv"\nvalue_range = [0, {high}]\n'
        "spacing_mm = [1.0, 1.0]\n"
    )
    return path


def drawn(n: int, channels: int = 1, seed: int = 3) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    images = _Blobs(channels)(torch.randn(n, 8, generator=generator))
    return images.clamp(0, 1).numpy()


def audit(model: Path, data: Path, out: Path, *more: str) -> tuple[int, Record | None]:
    arguments = ["audit", str(model), "--suite", "synthesis", "--data", str(data), "--out", str(out), "--device", "cpu"]
    code = _run([*arguments, "--no-cache", *more], debug=False)
    file = out / "record.json"
    return code, Record.from_json(file.read_text()) if file.exists() else None


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samplers")
    dataset(folder, "grey", drawn(60), 30)
    dataset(folder, "colour", drawn(40, 3), 20)
    dataset(folder, "alike", np.repeat(drawn(1), 40, axis=0), 20)
    dataset(folder, "lonely", drawn(21), 1)
    dataset(folder, "testonly", drawn(30), 30)
    save(folder, "blobs", _Blobs())
    return folder


def verdicts(record: Record) -> dict[str, str]:
    return {audit.code: str(audit.verdict) for audit in record.audits}


def test_a_small_set_is_inconclusive_and_every_audit_says_what_is_missing(place, tmp_path):
    code, record = audit(place / "blobs.pt", place / "grey.toml", tmp_path / "run")

    assert code == 3
    assert record is not None
    assert record.verdict == "inconclusive"
    assert "error" not in verdicts(record).values()
    assert all(a.reason for a in record.audits)
    assert [entry.name for entry in record.index][:2] == ["Congruence", "Coverage"]
    assert record.run["samples"] == 30
    assert (tmp_path / "run" / "report.pdf").stat().st_size > 10_000


def test_colour_images_and_another_number_of_samples(place, tmp_path):
    model = save(place, "colour", _Blobs(3), channels=3)
    code, record = audit(model, place / "colour.toml", tmp_path / "run", "--samples", "24")

    assert code == 3
    assert record is not None
    assert record.run["samples"] == 24
    assert "error" not in verdicts(record).values()


@pytest.mark.parametrize("data", ["alike", "lonely", "testonly"])
def test_identical_images_one_real_image_and_no_train_partition_end_without_a_pass(place, tmp_path, data):
    code, record = audit(place / "blobs.pt", place / f"{data}.toml", tmp_path / "run")

    assert code in (1, 3)
    assert record is not None
    assert record.verdict in ("fail", "inconclusive")
    assert "error" not in verdicts(record).values()
    if data == "testonly":
        assert verdicts(record)["MEM-001"] == "inconclusive"


@pytest.mark.parametrize(
    ("name", "model", "said"),
    [
        ("same", _Same(), "ignores its latent vector"),
        ("unseeded", _Unseeded(), "not deterministic"),
        ("infinite", _Infinite(), "NaN or infinity in"),
    ],
)
def test_odd_samplers_are_said_and_do_not_pass(place, tmp_path, name, model, said):
    code, record = audit(save(place, name, model), place / "grey.toml", tmp_path / "run")

    assert code in (1, 3)
    assert record is not None
    assert any(said in deviation for deviation in record.deviations)
    assert record.verdict != "pass"


def test_noise_that_follows_the_seed_is_deterministic(place, tmp_path):
    _, record = audit(save(place, "restless", _Restless()), place / "grey.toml", tmp_path / "run")

    assert record is not None
    assert not any("deterministic" in deviation for deviation in record.deviations)


@pytest.mark.parametrize(
    ("name", "model", "channels", "said"),
    [
        ("vector", _Vector(), 1, "another shape"),
        ("small", _Blobs(size=16), 1, "another shape than the real images"),
        ("three", _Blobs(3), 1, "another shape"),
    ],
)
def test_a_wrong_shape_ends_with_2_before_anything_is_measured(place, tmp_path, capsys, name, model, channels, said):
    code, record = audit(save(place, name, model, channels), place / "grey.toml", tmp_path / "run")

    assert code == 2
    assert record is None
    assert said in capsys.readouterr().err


def test_an_unknown_extractor_and_a_flag_of_another_suite_end_with_2(place, tmp_path, capsys):
    code, _ = audit(place / "blobs.pt", place / "grey.toml", tmp_path / "run", "--extractor", "crystal-ball")
    assert code == 2
    assert "no extractor of that name" in capsys.readouterr().err

    flags = ["audit", str(place / "blobs.pt"), "--suite", "translation", "--samples", "5", "--out", str(tmp_path / "x")]
    assert _run(flags, debug=False) == 2
    assert "belongs to another suite" in capsys.readouterr().err


def test_two_runs_with_one_seed_give_the_same_record(place, tmp_path):
    records = [audit(place / "blobs.pt", place / "grey.toml", tmp_path / name)[1] for name in ("a", "b")]
    contents = [json.loads(record.to_json()) for record in records if record is not None]
    for content in contents:
        for key in ("id", "started_utc", "finished_utc", "seconds", "command"):
            content["run"].pop(key)
        for one in content["audits"]:
            one.pop("seconds")
            # What the ledger shows of earlier runs is another thing in the second run.
            one["measurements"] = [m for m in one["measurements"] if m["id"] != "HYG-006.earlier_runs"]
            one["notes"] = [note for note in one["notes"] if not note.startswith("The ledger shows")]
    assert [content.pop("attempts")["number"] for content in contents] == [1, 2]

    first, second = contents
    assert {k: v for k, v in first.items() if k != "audits"} == {k: v for k, v in second.items() if k != "audits"}
    for one, other in zip(first["audits"], second["audits"], strict=True):
        assert one == other
