"""LPIPS against its formula, and every way in which its weights may not be there."""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path
from typing import Any

import lpips
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from medgan_qa.features import lpips_distance
from medgan_qa.features.lpips_distance import FOLDER_VARIABLE, LpipsDistance, find_lpips, trunk_file
from medgan_qa.rng import child

# AlexNet's convolutions as torchvision numbers them: channels out, channels in, kernel, stride, padding.
LAYERS = {
    0: (64, 3, 11, 4, 2),
    3: (192, 64, 5, 1, 2),
    6: (384, 192, 3, 1, 1),
    8: (256, 384, 3, 1, 1),
    10: (256, 256, 3, 1, 1),
}
POOLED = (3, 6)


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights in the layout of torchvision's file, drawn by seed, under a name that fits their digest."""
    weights = {}
    for index, (out, into, kernel, _, _) in LAYERS.items():
        g = child(0, "alexnet", index)
        scale = (2 / (into * kernel**2)) ** 0.5
        weights[f"features.{index}.weight"] = torch.from_numpy(
            g.standard_normal((out, into, kernel, kernel), np.float32) * np.float32(scale)
        )
        weights[f"features.{index}.bias"] = torch.from_numpy(g.standard_normal(out, np.float32) * np.float32(0.1))
    folder = tmp_path_factory.mktemp("weights")
    torch.save(weights, folder / "drawn.pth")
    digest = hashlib.sha256((folder / "drawn.pth").read_bytes()).hexdigest()
    return (folder / "drawn.pth").rename(folder / f"alexnet-owt-{digest[:8]}.pth")


@pytest.fixture(scope="module")
def distance(trunk: Path) -> LpipsDistance:
    return LpipsDistance(trunk, "cpu")


@pytest.fixture
def at_trunk(trunk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(lpips_distance, "TRUNK", trunk.name)
    monkeypatch.setenv(FOLDER_VARIABLE, str(trunk.parent))
    return trunk


def by_formula(trunk: Path, a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Zhang et al. 2018, equation 1: squared differences of normalised features, weighted, averaged over space."""
    weights = torch.load(trunk, weights_only=True)
    heads = torch.load(
        Path(lpips.__file__).parent / "weights" / "v0.1" / "alex.pth", map_location="cpu", weights_only=True
    )
    shift, scale = (torch.tensor(v)[None, :, None, None] for v in ([-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]))
    x = (torch.from_numpy(np.stack([a, b]))[:, None].repeat(1, 3, 1, 1) * 2 - 1 - shift) / scale
    total = 0.0
    for layer, (index, (_, _, _, stride, padding)) in enumerate(LAYERS.items()):
        if index in POOLED:
            x = functional.max_pool2d(x, 3, 2)
        x = functional.conv2d(
            x, weights[f"features.{index}.weight"], weights[f"features.{index}.bias"], stride, padding
        )
        x = functional.relu(x)
        unit = x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10)
        total += float((heads[f"lin{layer}.model.1.weight"] * (unit[:1] - unit[1:]).pow(2)).sum(1).mean())
    return total


def image(seed: int, height: int = 64, width: int = 64) -> NDArray[np.float32]:
    return child(seed, "lpips test").random((height, width), np.float32)


@pytest.mark.parametrize("size", [(64, 64), (80, 72)])
def test_equals_the_formula(distance: LpipsDistance, trunk: Path, size: tuple[int, int]) -> None:
    a, b = image(1, *size), image(2, *size)
    assert distance.distance(a, b) == pytest.approx(by_formula(trunk, a, b), rel=1e-4)


def test_an_image_is_at_no_distance_from_itself(distance: LpipsDistance) -> None:
    assert distance.distance(image(1), image(1)) == 0


def test_is_the_same_both_ways(distance: LpipsDistance) -> None:
    assert distance.distance(image(1), image(2)) == pytest.approx(distance.distance(image(2), image(1)), rel=1e-5)


def test_grows_with_the_difference(distance: LpipsDistance) -> None:
    a = image(1)
    found = [distance.distance(a, np.clip(a + amount * (image(2) - 0.5), 0, 1)) for amount in (0.1, 0.3, 0.9)]
    assert found == sorted(found)
    assert len(set(found)) == 3


def test_values_beyond_the_range_are_clipped(distance: LpipsDistance) -> None:
    a = image(1)
    assert distance.distance(a * 3 - 1, image(2)) == distance.distance((a * 3 - 1).clip(0, 1), image(2))


@pytest.mark.parametrize("size", [(49, 49), (16, 40), (2, 2)])
def test_small_images_are_enlarged(distance: LpipsDistance, size: tuple[int, int]) -> None:
    a, b = image(1, *size), image(2, *size)
    assert distance.distance(a, b) > 0


def test_double_precision_is_taken_too(distance: LpipsDistance) -> None:
    a, b = image(1), image(2)
    assert distance.distance(a.astype(np.float64), b.astype(np.float64)) == distance.distance(a, b)  # type: ignore[arg-type]


# Where the weights are


def test_is_found_in_the_folder_that_is_named(at_trunk: Path) -> None:
    assert trunk_file() == at_trunk
    assert isinstance(find_lpips("cpu"), LpipsDistance)


def test_is_found_among_the_downloads_of_torch(trunk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lpips_distance, "TRUNK", trunk.name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    downloads = tmp_path / "hub" / "checkpoints"
    downloads.mkdir(parents=True)
    os.link(trunk, downloads / trunk.name)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert trunk_file() == downloads / trunk.name
    monkeypatch.setenv(FOLDER_VARIABLE, str(trunk.parent))
    assert trunk_file() == trunk
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "nowhere"))
    assert trunk_file() == downloads / trunk.name


def test_is_found_where_imported_weights_are_kept(trunk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lpips_distance, "TRUNK", trunk.name)
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    managed = tmp_path / "medgan-qa" / "weights"
    managed.mkdir(parents=True)
    os.link(trunk, managed / trunk.name)
    assert trunk_file() == managed / trunk.name


def test_is_missing_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    assert trunk_file() is None
    reason = find_lpips("cpu")
    assert isinstance(reason, str)
    assert "alexnet-owt-7be5be79.pth" in reason
    assert FOLDER_VARIABLE in reason


def test_weights_that_were_changed_are_not_used(
    at_trunk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = bytearray(at_trunk.read_bytes())
    changed[len(changed) // 2] ^= 1
    (tmp_path / at_trunk.name).write_bytes(changed)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    reason = find_lpips("cpu")
    assert isinstance(reason, str)
    assert f"begins with {hashlib.sha256(changed).hexdigest()[:8]}" in reason
    assert str(tmp_path) in reason


@pytest.mark.parametrize("content", [b"no weights", b""])
def test_weights_that_are_none_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    name = f"alexnet-owt-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(lpips_distance, "TRUNK", name)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    reason = find_lpips("cpu")
    assert isinstance(reason, str)
    assert "could not be used" in reason
    assert "\n" not in reason


def test_a_library_that_breaks_is_told_in_a_sentence(at_trunk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**options: Any) -> None:
        raise AttributeError

    monkeypatch.setattr(lpips, "LPIPS", broken)
    assert find_lpips("cpu") == f"the weights {at_trunk} could not be used (AttributeError)."


def test_no_warning_reaches_the_user(trunk: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        LpipsDistance(trunk, "cpu")
    assert [str(w.message) for w in caught] == []
