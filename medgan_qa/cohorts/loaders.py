"""A team's own data loader, read as its training or evaluation code reads it.

`package.module:build` names a function without arguments that returns one of

- a torch `Dataset`, or anything with `__len__` and `__getitem__` (a list included);
- a torch `DataLoader` (of MONAI and TorchIO too), whose batches are taken apart;
- any other iterable that can be gone through more than once; of one that cannot, such as a generator, the function is
  called again for every reading.

An item, or a batch, is one of

- a mapping with the image under `image`, `img`, `source`, `input` or `inputs`, and, if it has a name, the case id under
  `case_id`, `id` or `name`;
- a tuple or list whose first array is the image, and whose first text (in a batch: list of texts) is the case id;
- the image alone.

An image is an array, a tensor, a PIL image or a TorchIO image: (H, W), (C, H, W) or (H, W, C) with at most four
channels, or such with a last axis of length 1. Items without a case id are named by the attribute `case_ids` of what
was built, or of the dataset of a `DataLoader`; else they are known by their place.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.loader_items import as_array, as_image, taken_apart
from medgan_qa.errors import ConfigurationError, InputError, MedganQAError

Float = NDArray[np.float32]


class LoadedItem(NamedTuple):
    """One image as the loader hands it out."""

    place: int
    """Its place in what was built: the index, or how many came before it."""
    case_id: str | None
    """What the loader calls it; None where it does not say."""
    image: Float
    """(C, H, W), in whatever range the loader uses."""


@dataclass(frozen=True, eq=False)
class Loader:
    """What `build` returned, and how it is read; made by `load_loader` or `loader_of`."""

    spec: str
    """How it was named."""
    built: Any
    """What `build` returned, for the inspection of its transforms."""
    build: Callable[[], Any]

    @property
    def dataset(self) -> Any:
        """What items are taken from: the dataset of a `DataLoader`, else what was built."""
        return self.built.dataset if _is_data_loader(self.built) else self.built

    @property
    def shuffles(self) -> bool:
        """A `DataLoader` that draws a new order for every reading."""
        return _is_data_loader(self.built) and "Random" in type(getattr(self.built, "sampler", None)).__name__

    @property
    def length(self) -> int | None:
        """How many items there are; None where it does not say."""
        try:
            return len(self.dataset)
        except TypeError:
            return None

    def reading(self) -> Iterator[LoadedItem]:
        """Every item once, in the loader's own order.

        Of a `DataLoader` that shuffles and whose items have no names the dataset is read in its own order, batch by
        batch of one, so that places mean something.

        Raises:
            InputError: it breaks, or an item is none of the forms above; the message does not say whose item it is.
        """
        if self.shuffles and self.has_index and not self._names_its_items():
            yield from self.by_index(range(self.length or 0))
            return
        source = self.built
        if iter_is_spent(source):
            source = self.build()
        place = 0
        for batch in self._told(source):
            for item in self._items(batch, place, batched=_is_batched(self.built)):
                yield item
                place += 1

    def by_index(self, order: Sequence[int]) -> Iterator[LoadedItem]:
        """The items of these places, in this order, through the collate function where there is one.

        Raises:
            InputError: as `reading`.
        """
        dataset, collate = self.dataset, getattr(self.built, "collate_fn", None)
        together = collate if _is_batched(self.built) else None
        for place in order:
            try:
                item = dataset[place]
                batch = item if together is None else together([item])
            except Exception as error:
                raise self._broken(error) from error
            yield next(self._items(batch, place, batched=together is not None))

    @property
    def has_index(self) -> bool:
        """Items can be taken in any order."""
        return (
            self.length is not None and hasattr(self.dataset, "__getitem__") and not isinstance(self.dataset, Mapping)
        )

    def _names_its_items(self) -> bool:
        """Whether the first item says itself what it is."""
        try:
            return bool(self.length) and taken_apart(self.dataset[0])[1] is not None
        except Exception as error:
            raise self._broken(error) from error

    def _told(self, source: Any) -> Iterator[Any]:
        """The items of an iteration; what the loader raises is told as an error of the loader."""
        try:
            # Sequences of the old protocol have no __iter__ and end with an IndexError.
            each = iter(source) if hasattr(source, "__iter__") else (source[k] for k in range(len(source)))
            while True:
                try:
                    item = next(each)
                except StopIteration:
                    return
                yield item
        except MedganQAError:
            raise
        except Exception as error:
            raise self._broken(error) from error

    def _items(self, batch: Any, place: int, *, batched: bool) -> Iterator[LoadedItem]:
        try:
            image, name = taken_apart(batch)
            array = as_array(image)
            if not batched:
                yield LoadedItem(place, self._name(name, place), as_image(array))
                return
            names = name if isinstance(name, list | tuple) else [name] * len(array)
            for k, (one, its_name) in enumerate(zip(array, names, strict=True)):
                yield LoadedItem(place + k, self._name(its_name, place + k), as_image(one))
        except (TypeError, ValueError) as error:
            raise self._broken(error, f"{type(error).__name__}: {error}") from error

    def _name(self, found: Any, place: int) -> str | None:
        listed = getattr(self.built, "case_ids", getattr(self.dataset, "case_ids", None))
        if found is None and listed is not None:
            return str(listed[place])
        return None if found is None else str(found)

    def _broken(self, error: Exception, found: str = "") -> InputError:
        return InputError(
            "The loader cannot be read.",
            expected="items that hold an image (H, W) or (C, H, W), as docs/how-to/hygiene.md describes",
            # The text of an error that the loader raises may name a file, and a file a patient.
            found=found or type(error).__name__,
            where=f"--loader {self.spec}",
            todo="Go through the loader in Python once; every item has to come out.",
        )


def load_loader(spec: str) -> Loader:
    """Import `package.module:build`, call it, and make a loader of what it returns.

    The working folder is searched as well as the installed packages. This runs the team's code in this process.

    Raises:
        ConfigurationError: the text has another form, there is no such module or function, it breaks, or it returns
            nothing that can be read.
    """
    module, _, name = spec.partition(":")
    if not module or not name or not all(part.isidentifier() for part in [*module.split("."), *name.split(".")]):
        raise _unusable(spec, "package.module:build", repr(spec))
    try:
        with working_folder_searched():
            build: Any = importlib.import_module(module)
            for part in name.split("."):
                build = getattr(build, part)
    except Exception as error:
        raise _unusable(spec, "a module that can be imported, with that name in it", _said(error)) from error
    if not callable(build):
        raise _unusable(spec, "a function without arguments", type(build).__name__)
    return loader_of(build, spec)


def loader_of(build: Callable[[], Any], spec: str = "loader") -> Loader:
    """A loader of what a function without arguments returns.

    Raises:
        ConfigurationError: it breaks, or returns nothing that can be read.
    """
    try:
        built = build()
    except Exception as error:
        raise _unusable(spec, "a function that can be called without arguments", _said(error)) from error
    readable = hasattr(built, "__iter__") or (hasattr(built, "__getitem__") and hasattr(built, "__len__"))
    if not readable or isinstance(built, str | bytes | Mapping):
        raise _unusable(spec, "a Dataset, a DataLoader, or an iterable of images", type(built).__name__)
    return Loader(spec, built, build)


@contextlib.contextmanager
def working_folder_searched() -> Iterator[None]:
    """Modules of the working folder can be imported, after the installed ones."""
    here = str(Path.cwd())
    there = here in sys.path or "" in sys.path
    if not there:
        sys.path.append(here)
    try:
        yield
    finally:
        if not there:
            sys.path.remove(here)


def iter_is_spent(built: Any) -> bool:
    """Whether it is an iterator: it can be gone through once."""
    return hasattr(built, "__next__")


def _is_data_loader(built: Any) -> bool:
    """By its class's name, so that torch need not be there."""
    return any(c.__name__ == "DataLoader" and c.__module__.startswith("torch.") for c in type(built).__mro__)


def _is_batched(built: Any) -> bool:
    return _is_data_loader(built) and getattr(built, "batch_sampler", None) is not None


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _unusable(spec: str, expected: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        "The loader cannot be used.",
        expected=expected,
        found=found,
        where=f"--loader {spec}",
        todo="Name a function as package.module:build that returns the test set's Dataset or DataLoader.",
    )
