"""Random transforms are found wherever they are reached from, in four libraries; fixed ones are not called random."""

from __future__ import annotations

import functools
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.cohorts.pipelines import Found, inspect_pipeline

torch = pytest.importorskip("torch")
T = pytest.importorskip("torchvision.transforms")
V = pytest.importorskip("torchvision.transforms.v2")
pytestmark = pytest.mark.filterwarnings("ignore")


def random_in(built: Any) -> list[str]:
    return [str(found) for found in inspect_pipeline(built).random]


class Holder:
    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 1

    def __getitem__(self, k: int) -> Any:
        return self.transform(np.zeros((4, 4)))


@pytest.mark.parametrize("module", [T, V])
def test_torchvision_both_versions(module: Any) -> None:
    pipeline = module.Compose(
        [
            module.CenterCrop(8),
            module.RandomHorizontalFlip(p=0.5),
            module.RandomVerticalFlip(p=0),
            module.RandomApply([module.Grayscale()], p=0.3),
            module.ColorJitter(0.2),
            module.ColorJitter(),
            module.GaussianBlur(3, 1.0),
            module.GaussianBlur(3, (0.1, 2.0)),
            module.RandomResizedCrop(8),
        ]
    )
    inspected = inspect_pipeline(Holder(pipeline))
    at = "loader.transform.transforms"
    assert [str(found) for found in inspected.random] == [
        f"{at}[1]: RandomHorizontalFlip(p=0.5)",
        f"{at}[3]: RandomApply(p=0.3)",
        f"{at}[4]: ColorJitter",
        f"{at}[7]: GaussianBlur",
        f"{at}[8]: RandomResizedCrop",
    ]
    assert Found(f"{at}[2]", "RandomVerticalFlip(p=0)") in inspected.fixed
    assert Found(f"{at}[0]", "CenterCrop") in inspected.fixed
    assert inspected.complete


def test_torchvision_augmentations_of_newer_kinds() -> None:
    for transform in (V.GaussianNoise(), V.MixUp(num_classes=2), V.JPEG((5, 90)), V.AutoAugment(), V.RandomErasing(1)):
        assert len(random_in([transform])) == 1
    assert random_in([V.ToDtype(torch.float32), V.Normalize([0.5], [0.5]), V.Resize(8)]) == []


def test_monai_also_under_dictionaries_and_caches() -> None:
    data, mt = pytest.importorskip("monai.data"), pytest.importorskip("monai.transforms")
    pipeline = mt.Compose(
        [
            mt.EnsureChannelFirstd(keys=["image"], channel_dim="no_channel"),
            mt.RandFlipd(keys=["image"], prob=0.2),
            mt.RandRotate90d(keys=["image"], prob=0),
            mt.OneOf([mt.Flip(0), mt.Flip(1)]),
            mt.Compose([mt.RandSpatialCrop(4), mt.ScaleIntensity()]),
        ]
    )
    rows = [{"image": np.zeros((8, 8), np.float32)}] * 3
    cached = data.CacheDataset(rows, transform=pipeline, progress=False, num_workers=0)
    found = random_in(data.DataLoader(cached, batch_size=1))
    at = "loader.dataset.transform.transforms"
    assert found == [f"{at}[1]: RandFlipd(p=0.2)", f"{at}[3]: OneOf", f"{at}[4].transforms[0]: RandSpatialCrop"]
    assert random_in(mt.Compose([mt.ScaleIntensity(), mt.Flip(0), mt.Resize((8, 8))])) == []


def test_torchio_also_fixed_transforms_that_are_applied_sometimes() -> None:
    tio = pytest.importorskip("torchio")
    pipeline = tio.Compose(
        [
            tio.ToCanonical(),
            tio.RandomFlip(p=0.5),
            tio.RandomNoise(p=0),
            tio.ZNormalization(p=0.5),
            tio.OneOf({tio.RandomBlur(): 1, tio.Flip(0): 1}),
        ]
    )
    subjects = [tio.Subject(image=tio.ScalarImage(tensor=torch.zeros(1, 4, 4, 1)))]
    found = random_in(tio.SubjectsDataset(subjects, transform=pipeline))
    at = "loader._transform.transforms"
    assert found[:3] == [f"{at}[1]: RandomFlip(p=0.5)", f"{at}[3]: ZNormalization(p=0.5)", f"{at}[4]: OneOf(p=1)"]
    assert random_in(tio.Compose([tio.ToCanonical(), tio.Flip(0)])) == []


def test_albumentations() -> None:
    A = pytest.importorskip("albumentations")
    fixed = [A.Normalize(), A.Resize(8, 8), A.CenterCrop(4, 4), A.HorizontalFlip(p=1)]
    assert random_in(A.Compose(fixed)) == []
    assert random_in(A.Compose([A.Rotate(p=0)])) == []
    pipeline = A.Compose([A.HorizontalFlip(), A.Rotate(p=1), A.OneOf([A.Blur(p=1)], p=0.5), A.Normalize()])
    at = "loader.transforms"
    assert random_in(pipeline) == [
        f"{at}[0]: HorizontalFlip(p=0.5)",
        f"{at}[1]: Rotate(p=1)",
        f"{at}[2]: OneOf(p=0.5)",
        f"{at}[2].transforms[0]: Blur(p=1)",
    ]


FLIP = T.RandomHorizontalFlip()


def _uses_a_global(image: Any) -> Any:
    return FLIP(image)


class Slotted:
    __slots__ = ("hidden",)

    def __init__(self, hidden: Any) -> None:
        self.hidden = hidden


class OfTheClass:
    transform = FLIP


@pytest.mark.parametrize(
    ("built", "path"),
    [
        (Holder(functools.partial(max, FLIP)), "loader.transform.args[0]"),
        (Holder(functools.partial(max, key=FLIP)), "loader.transform.keywords['key']"),
        (Holder(lambda image, flip=FLIP: flip(image)), "loader.transform.__defaults__[0]"),
        (Holder((lambda flip: lambda image: flip(image))(FLIP)), "loader.transform.flip"),
        (Holder(_uses_a_global), "loader.transform.FLIP"),
        (Holder(FLIP.forward), "loader.transform.__self__"),
        (Holder({"train": [FLIP]}), "loader.transform['train'][0]"),
        (Slotted(FLIP), "loader.hidden"),
        (OfTheClass(), "loader.transform"),
        (Holder(T.Lambda(_uses_a_global)), "loader.transform.lambd.FLIP"),
        (torch.nn.Sequential(torch.nn.Identity(), FLIP), "loader.1"),
        (torch.utils.data.Subset(Holder(FLIP), [0]), "loader.dataset.transform"),
        (torch.utils.data.ConcatDataset([Holder(None), Holder(FLIP)]), "loader.datasets[1].transform"),
        (torch.utils.data.DataLoader(Holder(None), collate_fn=_uses_a_global), "loader.collate_fn.FLIP"),
    ],
)
def test_a_random_transform_is_found_wherever_it_is_reached_from(built: Any, path: str) -> None:
    assert random_in(built) == [f"{path}: RandomHorizontalFlip(p=0.5)"]


def test_rings_and_depths_end() -> None:
    ring = Holder(None)
    ring.transform = [ring, FLIP]
    assert len(random_in(ring)) == 1
    deep: Any = FLIP
    for _ in range(100):
        deep = [deep]
    inspected = inspect_pipeline(deep)
    assert inspected.random == []
    assert not inspected.complete


def test_code_that_is_not_understood_is_listed_and_random_numbers_in_it_are_told() -> None:
    class Flips:
        def __getitem__(self, k: int) -> Any:
            image = np.zeros((4, 4))
            return image[:, ::-1] if random.random() < 0.5 else image

    inspected = inspect_pipeline(Flips())
    assert inspected.random == []
    assert next(str(found) for found in inspected.draws) == "loader.__getitem__: its code names random"
    quiet = inspect_pipeline(Holder(lambda image: image[::-1]))
    assert quiet.draws == []
    assert any("lambda" in found.words for found in quiet.unknown)


def test_a_class_of_the_teams_own_is_random_by_its_name_unless_its_probability_is_0() -> None:
    class RandomGhost:
        def __init__(self, p: float) -> None:
            self.p = p

        def __call__(self, image: Any) -> Any:
            return image

    assert random_in([RandomGhost(0.1), RandomGhost(0)]) == ["loader[0]: RandomGhost(p=0.1)"]


def test_data_are_not_gone_through() -> None:
    rows = [{"image": np.zeros((4, 4)), "name": f"{k}"} for k in range(5000)]
    inspected = inspect_pipeline(Holder(rows))
    assert inspected == inspect_pipeline(Holder(rows[:300]))
    assert inspected.complete


@given(st.lists(st.sampled_from(["list", "mapping", "partial", "object"]), max_size=10))
def test_prop_nesting_hides_nothing_and_calls_nothing(steps: list[str]) -> None:
    class Untouchable(T.RandomHorizontalFlip):  # type: ignore[misc]
        def forward(self, image: Any) -> Any:
            raise AssertionError("called")

    nested: Any = Untouchable()
    for step in steps:
        make = {"list": lambda x: [1, x], "mapping": lambda x: {"a": x}, "object": Holder}
        nested = functools.partial(max, nested) if step == "partial" else make[step](nested)
    assert len(random_in(nested)) == 1


def test_no_library_is_imported_by_looking() -> None:
    script = (
        "import sys, medgan_qa.cohorts.pipelines as p; p.inspect_pipeline([lambda x: x]);"
        "print(sorted({'torch', 'torchvision', 'monai', 'torchio', 'albumentations'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
