"""torchvision's networks with weights drawn by seed: the file is read whole, the last layer is left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

from medgan_qa.errors import ConfigurationError, IntegrityError, MissingDependencyError
from medgan_qa.features import torchvision_nets as module
from medgan_qa.features.torchvision_nets import torchvision_extractor
from medgan_qa.features.weights import FOLDER_VARIABLE, sha256_of, weights
from medgan_qa.rng import child

AUXILIARY = {"transform_input": True, "aux_logits": True, "init_weights": False}
OPTIONS: dict[str, dict[str, Any]] = {"googlenet": AUXILIARY, "inception_v3": AUXILIARY}

MakeFile = Callable[..., nn.Module]


@pytest.fixture
def make_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeFile:
    """Save a network's drawn weights in the managed folder, as the file that torchvision would offer."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def make(model: str, rename: Callable[[str], str] = str) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network: nn.Module = models.get_model(model, weights=None, **OPTIONS.get(model, {})).eval()
        torch.save({rename(k): v for k, v in network.state_dict().items()}, tmp_path / "drawn.pth")
        digest = sha256_of(tmp_path / "drawn.pth")
        known = dataclasses.replace(
            weights(f"torchvision:{model}"), file=f"{model}-{digest[:8]}.pth", sha256=digest[:8]
        )
        (tmp_path / "drawn.pth").rename(tmp_path / known.file)
        monkeypatch.setattr(module, "weights", lambda name: known if name == known.name else weights(name))
        return network

    return make


def images(count: int = 2, size: int = 40) -> Any:
    return child(0, "torchvision").random((count, 1, size, size), np.float32)


def before_the_head(network: nn.Module, head: str, x: torch.Tensor) -> Any:
    """What goes into the layer called `head`, averaged over space where it has one."""
    seen: list[torch.Tensor] = []
    network.get_submodule(head).register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
    with torch.no_grad():
        network(x)
    return (seen[0].mean((2, 3)) if seen[0].ndim == 4 else seen[0]).numpy()


@pytest.mark.parametrize(
    ("model", "head", "features"),
    [
        ("resnet18", "fc", 512),
        ("mobilenet_v3_small", "classifier.3", 1024),
        ("squeezenet1_1", "classifier.1", 512),
        ("googlenet", "fc", 1024),
        ("shufflenet_v2_x0_5", "fc", 1024),
        ("regnet_y_400mf", "fc", 440),
        ("efficientnet_b0", "classifier.1", 1280),
    ],
)
def test_gives_what_goes_into_the_last_layer(make_file: MakeFile, model: str, head: str, features: int) -> None:
    network = make_file(model)
    extractor = torchvision_extractor(model)
    found = extractor.features(images())
    preparation, _ = module._preparation(model)
    expected = before_the_head(network, head, preparation(torch.from_numpy(images())))
    assert found.shape == (2, features)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_features_do_not_depend_on_the_batch(make_file: MakeFile) -> None:
    make_file("resnet18")
    extractor = torchvision_extractor("resnet18")
    together = extractor.features(images(5))
    extractor.batch = 2
    np.testing.assert_allclose(extractor.features(images(5)), together, rtol=1e-3, atol=1e-5)


def test_prepares_as_torchvision_does_but_for_the_crop() -> None:
    own = models.ResNet50_Weights.DEFAULT.transforms()
    preparation, default = module._preparation("resnet50")
    assert default == "ResNet50_Weights.IMAGENET1K_V2"
    square = torch.from_numpy(images(1, 300)).repeat(1, 3, 1, 1)
    whole = type(own)(crop_size=224, resize_size=224, mean=own.mean, std=own.std, interpolation=own.interpolation)
    torch.testing.assert_close(preparation(square), whole(square), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("model", "size"), [("vit_h_14", 518), ("inception_v3", 299), ("efficientnet_b7", 600)])
def test_the_size_is_the_one_of_the_weights(model: str, size: int) -> None:
    assert module._preparation(model)[0].size == size


def test_the_input_size_of_a_transformer_is_that_of_its_weights() -> None:
    assert module._options("vit_h_14", 518) == {"image_size": 518}


def test_the_old_names_of_densenet_are_understood(make_file: MakeFile) -> None:
    def old(key: str) -> str:
        *place, layer, leaf = key.split(".")
        inside = len(place) > 1 and place[-1].startswith("denselayer")
        return ".".join([*place, f"{layer[:-1]}.{layer[-1]}" if inside else layer, leaf])

    network = make_file("densenet121", old)
    assert old("features.denseblock1.denselayer1.norm1.weight") == "features.denseblock1.denselayer1.norm.1.weight"
    found = torchvision_extractor("densenet121").features(images(1))
    preparation, _ = module._preparation("densenet121")
    expected = before_the_head(network, "classifier", preparation(torch.from_numpy(images(1))))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_the_inputs_transform_of_inception_is_kept(make_file: MakeFile) -> None:
    make_file("googlenet")
    assert torchvision_extractor("googlenet").module.transform_input is True


def test_identifies_itself(make_file: MakeFile, tmp_path: Path) -> None:
    make_file("resnet18")
    extractor = torchvision_extractor("resnet18")
    [file] = tmp_path.glob("resnet18-*.pth")
    assert extractor.name == "torchvision:resnet18"
    assert extractor.version.endswith("ResNet18_Weights.IMAGENET1K_V1")
    assert extractor.digest == sha256_of(file)
    assert extractor.digest.startswith(file.stem[-8:])
    assert extractor.preprocessing["mean"] == [0.485, 0.456, 0.406]


def test_the_digits_in_the_files_name_are_checked(make_file: MakeFile, tmp_path: Path) -> None:
    make_file("resnet18")
    [file] = tmp_path.glob("resnet18-*.pth")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(IntegrityError, match="damaged or another file"):
        torchvision_extractor("resnet18")


def test_a_file_of_another_network_does_not_fit(make_file: MakeFile) -> None:
    make_file("resnet18", lambda key: key.replace("layer4", "layer5"))
    with pytest.raises(IntegrityError, match="do not fit"):
        torchvision_extractor("resnet18")


def test_nothing_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="medgan-qa weights fetch torchvision:resnet50"):
        torchvision_extractor("resnet50")


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no known weights"):
        torchvision_extractor("resnet9000")
