"""A team's own loader: every form of item that is described is read, everything else is refused in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medgan_qa.cohorts.loader_items import IMAGE_KEYS, as_image, taken_apart
from medgan_qa.cohorts.loaders import LoadedItem, load_loader, loader_of
from medgan_qa.errors import ConfigurationError, InputError

IMAGES = np.arange(5 * 6 * 8, dtype=np.float32).reshape(5, 6, 8) / 240


def read(built: Any) -> list[LoadedItem]:
    return list(loader_of(lambda: built).reading())


def holds(items: list[LoadedItem], names: list[str | None]) -> None:
    assert [item.case_id for item in items] == names
    assert [item.place for item in items] == list(range(len(names)))
    for item, image in zip(items, IMAGES, strict=True):
        assert item.image.shape == (1, 6, 8)
        assert np.array_equal(item.image[0], image)


NAMED: list[str | None] = [f"c{k}" for k in range(5)]


@pytest.mark.parametrize("key", IMAGE_KEYS)
def test_a_list_of_mappings_is_read(key: str) -> None:
    holds(read([{key: image, "case_id": f"c{k}", "label": 1} for k, image in enumerate(IMAGES)]), NAMED)


def test_tuples_in_either_order_and_bare_images_are_read() -> None:
    holds(read([(f"c{k}", image) for k, image in enumerate(IMAGES)]), NAMED)
    holds(read([(image[None], 3, f"c{k}") for k, image in enumerate(IMAGES)]), NAMED)
    holds(read([image[..., None] for image in IMAGES]), [None] * 5)


def test_names_may_stand_beside_the_items() -> None:
    class Images(list[Any]):
        case_ids = ("a", "b", "c", "d", "e")

    holds(read(Images(IMAGES)), ["a", "b", "c", "d", "e"])


def test_a_sequence_of_the_old_protocol_is_read_and_taken_in_any_order() -> None:
    class Old:
        def __len__(self) -> int:
            return 5

        def __getitem__(self, k: int) -> Any:
            if k >= 5:
                raise IndexError
            return IMAGES[k]

    loader = loader_of(Old)
    assert loader.has_index
    assert loader.length == 5
    holds(list(loader.reading()), [None] * 5)
    assert [item.place for item in loader.by_index([4, 0])] == [4, 0]
    assert np.array_equal(next(loader.by_index([4])).image[0], IMAGES[4])


def test_a_generator_is_built_anew_for_every_reading() -> None:
    def build() -> Iterator[Any]:
        yield from ((f"c{k}", image) for k, image in enumerate(IMAGES))

    loader = loader_of(build)
    assert not loader.has_index
    assert loader.length is None
    holds(list(loader.reading()), NAMED)
    holds(list(loader.reading()), NAMED)


def test_colour_images_and_pictures_of_pil_are_read() -> None:
    colour = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    [item] = read([Image.fromarray(colour)])
    assert np.array_equal(item.image, np.moveaxis(colour, -1, 0))


class TestTorch:
    """Datasets and DataLoaders of torch, MONAI and TorchIO."""

    torch = pytest.importorskip("torch")

    def dataset(self, form: str) -> Any:
        torch = self.torch

        class Set(torch.utils.data.Dataset):  # type: ignore[name-defined,misc]
            def __len__(self) -> int:
                return 5

            def __getitem__(self, k: int) -> Any:
                tensor = torch.from_numpy(IMAGES[k][None])
                if form == "mapping":
                    return {"image": tensor, "case_id": f"c{k}"}
                return (tensor, 0) if form == "unnamed" else (tensor, f"c{k}")

        return Set()

    @pytest.mark.parametrize("form", ["mapping", "tuple"])
    def test_datasets_and_batches_are_taken_apart(self, form: str) -> None:
        DataLoader = self.torch.utils.data.DataLoader
        holds(read(self.dataset(form)), NAMED)
        holds(read(DataLoader(self.dataset(form), batch_size=2)), NAMED)
        holds(read(DataLoader(self.dataset(form), batch_size=None)), NAMED)

    def test_a_loader_that_shuffles_gives_every_image_its_own_name(self) -> None:
        loader = loader_of(lambda: self.torch.utils.data.DataLoader(self.dataset("tuple"), batch_size=2, shuffle=True))
        assert loader.shuffles
        for item in loader.reading():
            assert np.array_equal(item.image[0], IMAGES[int(str(item.case_id)[1:])])

    def test_a_loader_that_shuffles_without_names_is_read_in_the_order_of_its_dataset(self) -> None:
        dataset = self.dataset("unnamed")
        holds(read(self.torch.utils.data.DataLoader(dataset, batch_size=2, shuffle=True)), [None] * 5)
        dataset.case_ids = NAMED
        holds(read(self.torch.utils.data.DataLoader(dataset, batch_size=2, shuffle=True)), NAMED)

    def test_the_collate_function_is_gone_through_when_items_are_taken_by_index(self) -> None:
        def doubled(items: list[Any]) -> Any:
            return self.torch.stack([2 * image for image, _ in items]), [name for _, name in items]

        loader = loader_of(lambda: self.torch.utils.data.DataLoader(self.dataset("tuple"), 2, collate_fn=doubled))
        [item] = loader.by_index([3])
        assert item.case_id == "c3"
        assert np.array_equal(item.image[0], 2 * IMAGES[3])

    def test_monai_datasets_are_read(self) -> None:
        monai = pytest.importorskip("monai.data")
        rows = [{"image": image[None], "case_id": f"c{k}"} for k, image in enumerate(IMAGES)]
        holds(read(monai.DataLoader(monai.Dataset(rows, transform=lambda row: row), batch_size=3)), NAMED)

    @pytest.mark.filterwarnings("ignore")
    def test_torchio_subjects_are_read_as_they_store_images(self) -> None:
        tio = pytest.importorskip("torchio")
        subjects = [
            tio.Subject(
                image=tio.ScalarImage(tensor=self.torch.from_numpy(image.T[None, :, :, None].copy())), id=f"c{k}"
            )
            for k, image in enumerate(IMAGES)
        ]
        for built in (tio.SubjectsDataset(subjects), tio.SubjectsLoader(tio.SubjectsDataset(subjects), batch_size=2)):
            items = read(built)
            assert [item.case_id for item in items] == NAMED
            assert all(np.array_equal(item.image[0].T, image) for item, image in zip(items, IMAGES, strict=True))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"picture": IMAGES[0]}, "expected one of the keys image"),
        (("a", 3), "expected an array among 2 parts, got str, int"),
        ("a.png", "expected a mapping, a tuple or an array, got str"),
        (np.zeros((9, 9, 9)), "shape \\(9, 9, 9\\)"),
        (np.zeros((2, 0)), "expected an image"),
    ],
)
def test_items_that_hold_no_image_are_refused(item: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read([item])


def test_what_a_loader_raises_is_told_without_what_it_says() -> None:
    class Broken(list[Any]):
        def __getitem__(self, k: Any) -> Any:
            raise OSError("/data/DOE^JOHN.dcm")

        def __iter__(self) -> Iterator[Any]:
            raise OSError("/data/DOE^JOHN.dcm")

    for read_it in (lambda loader: loader.reading(), lambda loader: loader.by_index([0])):
        with pytest.raises(InputError) as told:
            list(read_it(loader_of(lambda: Broken([1]))))
        assert "DOE" not in str(told.value)
        assert "OSError" in str(told.value)


def test_a_loader_is_imported_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "our_loader.py").write_text(
        "import numpy as np\nbroken = lambda: 1 / 0\nnumber = 3\nnothing = lambda: 3\n"
        "class Sets:\n    test = staticmethod(lambda: [np.ones((4, 4))])\n",
        encoding="utf-8",
    )
    [item] = load_loader("our_loader:Sets.test").reading()
    assert item.image.shape == (1, 4, 4)
    for spec, words in {
        "our_loader": "package.module:build",
        "our loader:x": "package.module:build",
        "our_loader:absent": "AttributeError",
        "no_such_module_here:build": "ModuleNotFoundError",
        "our_loader:broken": "ZeroDivisionError",
        "our_loader:number": "found: int",
        "our_loader:nothing": "an iterable of images",
    }.items():
        with pytest.raises(ConfigurationError, match=words) as told:
            load_loader(spec)
        assert f"--loader {spec}" in str(told.value)


@given(st.integers(5, 9), st.integers(5, 9), st.integers(1, 4), st.booleans())
def test_prop_channels_are_found_wherever_they_stand(height: int, width: int, channels: int, last: bool) -> None:
    image = np.random.default_rng(0).random((channels, height, width))
    given_ = np.moveaxis(image, 0, -1) if last else image
    assert np.array_equal(as_image(given_), image.astype(np.float32))


@given(st.sampled_from(["case_id", "id", "name"]), st.text(min_size=1, max_size=5), st.booleans())
def test_prop_the_name_is_found_in_every_form(key: str, name: str, mapping: bool) -> None:
    item = {key: name, "image": IMAGES[0]} if mapping else (name, IMAGES[0])
    image, found = taken_apart(item)
    assert found == name
    assert np.array_equal(image, IMAGES[0])
