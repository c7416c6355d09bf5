"""The user's own network: TorchScript, checkpoints, cards, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medgan_qa.errors import ConfigurationError, ModelError
from medgan_qa.features.scripted import CheckpointExtractor, FileExtractor, input_card
from medgan_qa.rng import child
from medgan_qa.subjects import formats
from medgan_qa.subjects.checkpoint import Checkpoint, write_checkpoint


class Moments(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean((2, 3)), x.std((2, 3))], dim=1)


class Maps(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x * x], dim=1)


class Flat(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2, 3))


class Rows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.mean((2, 3)), x


class Classifier(nn.Module):
    """As a reference model: `forward` classifies, `features` is what it classifies by."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3)
        self.last = nn.Linear(width, 2)

    def features(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x)).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.features(x))


class Featureless(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Point:
    """An installed package's architectures."""

    name = "tests"

    def load(self) -> Any:
        return lambda: {"classifier": Classifier, "featureless": Featureless}


def images(count: int = 5, channels: int = 1, size: int = 12) -> Any:
    return child(0, "scripted").random((count, channels, size, size), np.float32)


def scripted(folder: Path, module: nn.Module, card: dict[str, Any] | None = None, *, inside: bool = False) -> Path:
    path = folder / "own.pt"
    text = "\n".join(f"{k} = {json.dumps(v)}" for k, v in {"schema": "medgan-qa/card/1", **(card or {})}.items())
    extra = {"medgan_qa_card.toml": text} if inside else {}
    torch.jit.save(torch.jit.script(module.eval()), str(path), _extra_files=extra)
    if card is not None and not inside:
        (folder / "own.card.toml").write_text(text)
    return path


def test_a_vector_an_image_is_taken_as_it_is(tmp_path: Path) -> None:
    x = images()
    found = FileExtractor(scripted(tmp_path, Moments())).features(x)
    expected = np.stack([x.mean((1, 2, 3)), x.std((1, 2, 3), ddof=1)], axis=1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_maps_are_averaged_over_space(tmp_path: Path) -> None:
    x = images()
    found = FileExtractor(scripted(tmp_path, Maps())).features(x)
    np.testing.assert_allclose(found, np.stack([x.mean((1, 2, 3)), (x * x).mean((1, 2, 3))], axis=1), rtol=1e-6)


def test_features_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    extractor = FileExtractor(scripted(tmp_path, Moments()))
    together = extractor.features(images())
    extractor.batch = 2
    np.testing.assert_allclose(extractor.features(images()), together, rtol=1e-6)


@pytest.mark.parametrize("inside", [False, True])
def test_the_unit_range_is_mapped_to_the_cards(tmp_path: Path, inside: bool) -> None:
    path = scripted(tmp_path, Moments(), {"range_in": [-1.0, 3.0], "version": "2.1"}, inside=inside)
    extractor = FileExtractor(path)
    np.testing.assert_allclose(extractor.features(images())[:, 0], images().mean((1, 2, 3)) * 4 - 1, rtol=1e-5)
    assert extractor.version == "2.1"
    assert "[-1, 3]" in extractor.preprocessing["input"]


def test_the_card_beside_the_file_wins(tmp_path: Path) -> None:
    scripted(tmp_path, Moments(), {"range_in": [0, 2]})
    path = scripted(tmp_path, Moments(), {"range_in": [0, 9]}, inside=True)
    assert FileExtractor(path).card.range_in == (0, 2)


def test_a_grey_image_is_repeated_for_a_network_of_three_channels(tmp_path: Path) -> None:
    extractor = FileExtractor(scripted(tmp_path, Moments(), {"channels_in": 3}))
    assert extractor.features(images()).shape == (5, 6)
    assert "repeated" in extractor.preprocessing["channels"]


def test_another_number_of_channels_is_refused(tmp_path: Path) -> None:
    extractor = FileExtractor(scripted(tmp_path, Moments(), {"channels_in": 2}))
    assert extractor.features(images(channels=2)).shape == (5, 4)
    with pytest.raises(ConfigurationError, match="number of channels"):
        extractor.features(images())


def test_without_a_card_channels_are_taken_as_they_come(tmp_path: Path) -> None:
    assert FileExtractor(scripted(tmp_path, Moments())).features(images(channels=4)).shape == (5, 8)


def test_identifies_itself_by_its_file(tmp_path: Path) -> None:
    path = scripted(tmp_path, Moments()).rename(tmp_path / "inception.pt")
    extractor = FileExtractor(path)
    from medgan_qa.subjects.load import file_sha256

    assert extractor.name == "file:inception.pt"
    assert extractor.version == "not declared"
    assert extractor.digest == file_sha256(path)
    assert FileExtractor(path, name="mine").name == "mine"


@pytest.mark.parametrize(("module", "found"), [(Rows(), "(5, 12, 12)"), (Flat(), "(5,)")])
def test_another_shape_is_refused(tmp_path: Path, module: nn.Module, found: str) -> None:
    path = scripted(tmp_path, module)
    with pytest.raises(ModelError, match="other than features") as caught:
        FileExtractor(path).features(images())
    assert caught.value.found == f"shape {found}"
    assert caught.value.where == str(path)


def test_more_than_one_tensor_is_refused_and_the_file_named(tmp_path: Path) -> None:
    path = scripted(tmp_path, Pair())
    with pytest.raises(ModelError, match="one tensor") as caught:
        FileExtractor(path).features(images())
    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    "content", [b"no model at all", b"PK\x03\x04broken", b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R."]
)
def test_a_file_that_is_no_network_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "own.pt").write_bytes(content)
    with pytest.raises(ModelError):
        FileExtractor(tmp_path / "own.pt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist") as caught:
        FileExtractor(tmp_path / "own.pt")
    assert caught.value.where == str(tmp_path / "own.pt")


def test_an_unreadable_file_is_a_model_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("medgan_qa.features.scripted.file_sha256", denied)
    with pytest.raises(ModelError, match="cannot be read") as caught:
        FileExtractor(scripted(tmp_path, Moments()))
    assert caught.value.found == "Permission denied"


# Cards


@pytest.mark.parametrize(
    ("card", "problem"),
    [
        ("range_in = [0, 1]", "another schema"),
        ('schema = "medgan-qa/card/9"', "another schema"),
        ("range_in = [", "cannot be read"),
        ('schema = "medgan-qa/card/1"\nrange_in = [1, 0]', "no range"),
        ('schema = "medgan-qa/card/1"\nrange_in = [0, inf]', "no range"),
        ('schema = "medgan-qa/card/1"\nrange_in = "unit"', "no range"),
        ('schema = "medgan-qa/card/1"\nchannels_in = 0', "no count"),
        ('schema = "medgan-qa/card/1"\nchannels_in = true', "no count"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_malformed_card_is_refused(tmp_path: Path, card: str | bytes, problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        input_card(tmp_path / "own.pt", card)


def test_no_card_means_the_unit_range(tmp_path: Path) -> None:
    assert input_card(tmp_path / "own.pt", "") == ("not declared", (0.0, 1.0), None)


# Checkpoints


def checkpoint(folder: Path, architecture: str = "classifier", suffix: str = ".safetensors") -> tuple[Path, nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = {"classifier": Classifier, "featureless": Featureless}[architecture]()
    card = 'schema = "medgan-qa/card/1"\nname = "c"\nversion = "3"\nrange_in = [-1.0, 1.0]'
    path = folder / f"net{suffix}"
    write_checkpoint(path, Checkpoint(architecture, {}, network.state_dict(), card))
    return path, network


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "entry_points", lambda group: [Point()])


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_checkpoint_gives_what_its_method_features_gives(tmp_path: Path, suffix: str) -> None:
    path, network = checkpoint(tmp_path, suffix=suffix)
    extractor = CheckpointExtractor(path, "cpu", name="phantom-net")
    with torch.no_grad():
        expected = network.features(torch.from_numpy(images() * 2 - 1)).numpy()
    np.testing.assert_allclose(extractor.features(images()), expected, rtol=1e-5, atol=1e-6)
    assert (extractor.name, extractor.version) == ("phantom-net", "3")
    np.testing.assert_array_equal(FileExtractor(path).features(images()), extractor.features(images()))


@pytest.mark.usefixtures("installed")
def test_a_checkpoint_without_features_is_refused(tmp_path: Path) -> None:
    path, _ = checkpoint(tmp_path, "featureless")
    with pytest.raises(ModelError, match="gives no features") as caught:
        CheckpointExtractor(path)
    assert caught.value.found == "Featureless"


def test_another_format_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no checkpoint") as caught:
        CheckpointExtractor(scripted(tmp_path, Moments()))
    assert caught.value.found == "TorchScript"
