"""Batches that are split where they do not fit: which size is found, and that nothing else changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.errors import ModelError
from medgan_qa.rng import child
from medgan_qa.subjects.isolation.batches import ONCE_MB, ROOM, FittedNetwork
from medgan_qa.subjects.isolation.limits import MB
from medgan_qa.subjects.networks import Float, OutOfMemoryError, is_out_of_memory, out_of_memory


class Small:
    """Doubles images and adds noise of its seed; takes so many at once."""

    def __init__(self, most: int) -> None:
        self.most, self.sizes = most, list[int]()

    def __call__(self, x: Float, seed: int) -> Float:
        self.sizes.append(len(x))
        if len(x) > self.most:
            raise out_of_memory("no room")
        noise = child(seed, "noise").standard_normal(x.shape[1:]).astype(np.float32)
        return x * 2 + noise


class Weighed(Small):
    """Says what an image takes."""

    def __init__(self, most: int, image_mb: float, memory_mb: int) -> None:
        super().__init__(most)
        self.image_mb, self.memory_mb = image_mb, memory_mb

    def measured(self, x: Float, seed: int) -> tuple[Float, int | None]:
        return self(x, seed), int((ONCE_MB + self.image_mb * len(x)) * MB)


def images(n: int) -> Float:
    return np.arange(n, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 2, 2), np.float32)


def test_a_batch_that_fits_is_given_as_it_is() -> None:
    network, facts = Small(16), dict[str, Any]()
    x = images(16)
    np.testing.assert_array_equal(FittedNetwork(network, facts)(x, 3), network(x, 3))
    assert network.sizes == [16, 16]
    assert facts == {}


def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_the_size_is_kept() -> None:
    network, facts = Small(5), dict[str, Any]()
    fitted = FittedNetwork(network, facts)
    y = fitted(images(16), 3)
    assert network.sizes == [16, 8, 4, 4, 4, 4]
    assert y.shape == (16, 1, 2, 2)
    assert facts == {"batch": {"1 x 2 x 2": "4 at once (memory ran out)"}}
    fitted(images(16), 3)
    assert network.sizes[6:] == [4, 4, 4, 4]


def test_not_even_one_image() -> None:
    network = Small(0)
    with pytest.raises(OutOfMemoryError, match="ran out of memory"):
        FittedNetwork(network, {})(images(5), 3)
    assert network.sizes == [5, 4, 2, 1]


@given(n=st.integers(1, 40), most=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_what_comes_out_depends_on_the_batch_the_seed_and_the_size_of_parts_only(n: int, most: int, seed: int) -> None:
    x = images(n)
    fresh, used = FittedNetwork(Small(most), {}), FittedNetwork(Small(most), {})
    used(images(40), 1)
    used(x, seed + 1)
    once = used(x, seed)
    np.testing.assert_array_equal(once, used(x, seed))
    assert once.shape == x.shape
    if n <= most:
        np.testing.assert_array_equal(fresh(x, seed), Small(most)(x, seed))


def test_what_one_image_takes_is_measured_before_a_batch_is_given() -> None:
    network, facts = Weighed(100, image_mb=100, memory_mb=1000), dict[str, Any]()
    fitted = FittedNetwork(network, facts)
    assert ROOM * 1000 // 100 == 7
    fitted(images(16), 0)
    assert network.sizes == [1, 4, 4, 4, 4]
    assert "4 at once (measured with one image)" in str(facts)
    assert OutOfMemoryError.__name__ not in str(facts)


def test_one_image_is_measured_and_not_run_twice() -> None:
    network = Weighed(100, image_mb=1, memory_mb=1000)
    fitted = FittedNetwork(network, {})
    np.testing.assert_array_equal(fitted(images(1), 5), Small(1)(images(1), 5))
    fitted(images(16), 0)
    assert network.sizes == [1, 16]


def test_images_of_another_size_are_measured_anew() -> None:
    network = Weighed(100, image_mb=1, memory_mb=1000)
    fitted = FittedNetwork(network, {})
    fitted(images(2), 0)
    fitted(np.ones((2, 1, 4, 4), np.float32), 0)
    assert network.sizes == [1, 2, 1, 2]


def test_a_network_that_takes_no_single_image_is_given_the_batch() -> None:
    class Pairs(Weighed):
        def __call__(self, x: Float, seed: int) -> Float:
            if len(x) == 1:
                raise ModelError("two at least")
            return super().__call__(x, seed)

    assert len(FittedNetwork(Pairs(100, 1, 1000), {})(images(4), 0)) == 4


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            True,
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 9"), True),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), False),
        (ValueError("memory"), False),
    ],
)
def test_how_libraries_say_that_memory_ran_out(error: Exception, is_one: bool) -> None:
    assert is_out_of_memory(error) is is_one
    wrapped = ValueError("the model raised")
    wrapped.__cause__ = error
    assert is_out_of_memory(wrapped) is is_one
