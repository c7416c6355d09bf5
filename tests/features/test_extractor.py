"""How an extractor is found, and what is asked of what it returns."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from types import SimpleNamespace

import numpy as np
import pytest

from medgan_qa.errors import ConfigurationError, ModelError
from medgan_qa.features import deep
from medgan_qa.features import extractor as registry
from medgan_qa.features.extractor import extract, extractor, extractors, identity, parameter_digest


class Fixed:
    """Returns what it was given."""

    name, version, digest = "fixed", "1", "0" * 64

    def __init__(self, found=None, **changed):
        self.found = found
        self.__dict__ |= changed

    def features(self, images):
        return self.found


def mine():
    return {"mine": lambda device: Fixed(device=device)}


def broken():
    raise ImportError("no such library")


@pytest.fixture
def registered(monkeypatch):
    def register(*functions):
        points = [EntryPoint(f.__name__, f"{__name__}:{f.__name__}", registry.GROUP) for f in functions]
        for point, function in zip(points, functions, strict=True):
            monkeypatch.setitem(point.__dict__, "load", lambda function=function: function)
        monkeypatch.setattr(registry, "entry_points", lambda group: points if group == registry.GROUP else [])

    return register


@pytest.mark.parametrize("name", ["radiomic", "pixels"])
def test_the_embedded_ones_are_there_and_compute(name):
    found = extractor(name)
    features = extract(found, np.random.default_rng(0).random((2, 1, 16, 16), dtype=np.float32))
    assert found.name == name
    assert features.dtype == np.float32
    assert len(features) == 2
    assert len(found.digest) == 64
    assert extractors()[name][0]


def test_an_unknown_name_is_refused_with_what_there_is():
    with pytest.raises(ConfigurationError) as caught:
        extractor("radiomics")
    assert caught.value.found == "radiomics"
    assert all(name in caught.value.expected for name in ("radiomic", "pixels", "torchvision:"))


@pytest.mark.parametrize("name", ["inception", "torchvision:resnet18", "net.pt", "net.torchscript", "./folder/net"])
def test_networks_and_files_go_to_the_deep_extractors(name, monkeypatch):
    monkeypatch.setattr(deep, "deep_extractor", lambda asked, device: (asked, device))
    assert extractor(name, "cuda:1") == (name, "cuda:1")


def test_deep_extractors_are_listed(monkeypatch):
    monkeypatch.setattr(deep, "deep_extractors", lambda: {"net": (False, "no weights")})
    assert extractors()["net"] == (False, "no weights")


def test_an_installed_package_adds_extractors(registered):
    registered(mine)
    assert extractor("mine", "cuda").device == "cuda"
    assert extractors()["mine"][0]


def test_a_name_that_two_packages_register_is_refused(registered):
    def another():
        return mine()

    registered(mine, another)
    with pytest.raises(ConfigurationError, match="Two installed packages") as caught:
        extractor("mine")
    assert caught.value.found == "mine"


def test_a_broken_package_is_listed_and_hides_no_other(registered):
    registered(broken, mine)
    listed = extractors()
    assert listed["broken"] == (False, "the package that registers it failed: ImportError: no such library")
    assert listed["mine"][0]
    assert listed["radiomic"][0]


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (np.ones((1, 4)), "shape (1, 4)"),
        (np.ones(2), "shape (2,)"),
        (np.ones((2, 0)), "shape (2, 0)"),
        (np.array([[0.0, 1], [np.nan, 2]]), "row 1"),
        (np.array([[0.0, 1], [1e300, 2]]), "row 1"),  # beyond float32
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_features_that_cannot_be_used_are_refused(found, says):
    with pytest.raises(ModelError) as caught:
        extract(Fixed(found), np.zeros((2, 1, 4, 4), np.float32))
    assert says in caught.value.found
    assert caught.value.where == "fixed"


@pytest.mark.parametrize("images", [np.zeros((2, 4, 4), np.float32), np.zeros((2, 1, 4, 4))])
def test_what_are_no_images_is_refused(images):
    with pytest.raises(ValueError, match="float32"):
        extract(Fixed(np.ones((2, 3))), images)


def test_identity_follows_everything_that_decides_the_features():
    changes = [{}, {"name": "x"}, {"version": "2"}, {"digest": "1" * 64}, {"preprocessing": {"size": 4}}]
    changes.append({"preprocessing": {"size": 5}})
    assert len({identity(Fixed(**change)) for change in changes}) == len(changes)
    assert identity(Fixed()) == identity(SimpleNamespace(name="fixed", version="1", digest="0" * 64))


def test_a_parameter_changes_the_digest():
    assert len({parameter_digest(), parameter_digest(1), parameter_digest(1.5), parameter_digest("a", (1,))}) == 4
