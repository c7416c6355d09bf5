"""FID's network on weights drawn by seed: that torch-fidelity is given what it expects, and nothing else is changed.

The weights themselves (91 MB) are not in the repository; where they are on the machine, the last test reads them.
"""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from medgan_qa.errors import ConfigurationError, IntegrityError, MissingDependencyError
from medgan_qa.features import weights as table
from medgan_qa.features.inception import FID_EXTRACTOR, eight_bit, inception
from medgan_qa.features.network import TorchExtractor
from medgan_qa.features.weights import FOLDER_VARIABLE, STANDARD, find, sha256_of
from medgan_qa.rng import child


class Drawn(FeatureExtractorInceptionV3):
    """The network as it is built, before a file is read into it."""

    def load_state_dict(self, state_dict: Any, *options: Any, **more: Any) -> None:  # type: ignore[override]
        """Keep what was drawn."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights in the layout of torch-fidelity's file, under its name."""
    folder = tmp_path_factory.mktemp("weights")
    torch.save({}, folder / "empty.pth")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Drawn("drawn", ["2048"], str(folder / "empty.pth"))
    torch.save(network.state_dict(), folder / STANDARD["inception"].file)
    return folder / STANDARD["inception"].file


@pytest.fixture
def known(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    drawn = dataclasses.replace(STANDARD["inception"], sha256=sha256_of(weights))
    monkeypatch.setitem(table.STANDARD, "inception", drawn)
    monkeypatch.setenv(FOLDER_VARIABLE, str(weights.parent))
    return weights


@pytest.fixture
def extractor(known: Path) -> TorchExtractor:
    return inception()


def images(count: int = 3, size: int = 48) -> Any:
    return child(0, "inception").random((count, 1, size, size), np.float32)


def test_gives_what_torch_fidelity_gives_on_the_8_bit_image(extractor: TorchExtractor, known: Path) -> None:
    direct = FeatureExtractorInceptionV3("direct", ["2048"], str(known))
    bytes_ = np.rint(images() * 255).astype(np.uint8)
    expected = direct(torch.from_numpy(bytes_).repeat(1, 3, 1, 1))[0].numpy()
    found = extractor.features(images())
    assert found.shape == (3, 2048)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert np.ptp(found, axis=0).max() > 0


def test_features_do_not_depend_on_the_batch(extractor: TorchExtractor) -> None:
    together = extractor.features(images())
    extractor.batch = 2
    np.testing.assert_allclose(extractor.features(images()), together, rtol=1e-4, atol=1e-6)


def test_identifies_itself(extractor: TorchExtractor, known: Path) -> None:
    assert extractor.name == FID_EXTRACTOR == "inception"
    assert extractor.version.startswith("torch-fidelity 0.")
    assert extractor.digest == sha256_of(known)
    for word in ("8 bit", "299 x 299", "not antialiased", "repeated three times", "128"):
        assert word in str(extractor.preprocessing)


def test_every_8_bit_value_comes_back_exactly() -> None:
    values = torch.arange(256, dtype=torch.float32).reshape(1, 1, 16, 16)
    assert torch.equal(eight_bit(values / 255)[0, 2], values[0, 0].to(torch.uint8))


def test_quantisation_rounds_and_clips() -> None:
    x = torch.tensor([-3.0, -0.1, 0.4 / 255, 0.6 / 255, 1.0, 7.0]).reshape(1, 1, 1, 6)
    assert eight_bit(x)[0, 0, 0].tolist() == [0, 0, 0, 1, 255, 255]


def test_images_of_four_channels_are_refused(extractor: TorchExtractor) -> None:
    with pytest.raises(ConfigurationError, match="cannot read"):
        extractor.features(np.zeros((1, 4, 32, 32), np.float32))


def test_nothing_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="medgan-qa weights fetch inception"):
        inception()


def test_another_file_under_the_name_is_refused(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(weights.parent))
    with pytest.raises(IntegrityError, match="weights of inception") as caught:
        inception()
    assert STANDARD["inception"].sha256 in str(caught.value)


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("executed",))


def test_nothing_in_the_file_is_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / STANDARD["inception"].file
    path.write_bytes(pickle.dumps({"Conv2d_1a_3x3.conv.weight": Payload()}, protocol=2))
    known = dataclasses.replace(STANDARD["inception"], sha256=sha256_of(path))
    monkeypatch.setitem(table.STANDARD, "inception", known)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        inception()
    assert "executed" not in capsys.readouterr().out


@pytest.mark.skipif(find(STANDARD["inception"]) is None, reason="the weights of FID's network are not on this machine")
def test_the_real_weights_give_features_of_a_known_size() -> None:
    found = inception().features(images(1))
    # Pool features of this network are averages of rectified values, about 0.4 on photographs.
    assert found.min() >= 0
    assert 0.05 < found.mean() < 2
