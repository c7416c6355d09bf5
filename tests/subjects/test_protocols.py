"""Subjects and networks: ranges, shapes, seeds, and the errors that a model of somebody else's can cause."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from torch import Tensor, nn

from medgan_qa.errors import ModelError
from medgan_qa.rng import child
from medgan_qa.subjects.card import Card
from medgan_qa.subjects.formats import reader_of
from medgan_qa.subjects.load import load_subject
from medgan_qa.subjects.networks import Network, OneAtATime, TorchNetwork
from medgan_qa.subjects.protocols import Subject

MakeModel = Callable[..., Path]
Float = NDArray[np.float32]
X = child(0, "test images").random((3, 1, 8, 8), np.float32)


class Given(nn.Module):
    """A module that does what it is given to do."""

    def __init__(self, does: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.does = does

    def forward(self, x: Tensor) -> Any:
        return self.does(x)


def subject(network: Network | Callable[[Tensor], Any], **card: Any) -> Subject:
    """A subject around a network, or around what a torch module's forward does."""
    facts: dict[str, Any] = {
        "name": "made up",
        "version": "1",
        "task": "translation",
        "channels_in": 1,
        "channels_out": 1,
        "range_in": (-1.0, 1.0),
        "range_out": (-1.0, 1.0),
    }
    if not isinstance(network, TorchNetwork | OneAtATime):
        network = TorchNetwork(Given(network), "cpu")  # type: ignore[arg-type]
    return Subject(network, Card(**{**facts, **card}), Path("made-up.pt"), "TorchScript", "ab" * 32, "cpu", 7)


def refused(call: Callable[[], Any]) -> ModelError:
    with pytest.raises(ModelError) as caught:
        call()
    error = caught.value
    assert error.exit_code == 2
    assert all((error.problem, error.expected, error.found, error.todo))
    assert error.where == "made-up.pt"
    return error


# Ranges


def test_the_network_sees_the_range_of_its_card() -> None:
    seen: list[Tensor] = []

    def does(x: Tensor) -> Tensor:
        seen.append(x)
        return x

    x = np.array([0.0, 0.25, 1.0, 1.5], np.float32).reshape(1, 1, 2, 2)
    y = subject(does, range_in=(-1024.0, 3000.0), range_out=(-1024.0, 3000.0)).translate(x)
    np.testing.assert_allclose(seen[0].numpy().ravel(), [-1024, -18, 3000, 5012])
    np.testing.assert_allclose(y, x, atol=1e-6)
    assert (seen[0].dtype, y.dtype) == (torch.float32, np.float32)


def test_nothing_is_clipped() -> None:
    y = subject(lambda x: x * 3, range_in=(0.0, 1.0), range_out=(0.0, 1.0)).translate(X)
    assert y.max() > 1.5


def test_input_and_output_have_ranges_of_their_own() -> None:
    y = subject(lambda x: x, range_in=(0.0, 2.0), range_out=(-1.0, 3.0)).translate(
        np.full((1, 1, 2, 2), 0.5, np.float32)
    )
    np.testing.assert_array_equal(y, np.full((1, 1, 2, 2), 0.5))


ends = st.tuples(st.floats(-1e4, 1e4), st.floats(1e-2, 1e4)).map(lambda pair: (pair[0], pair[0] + pair[1]))
unit = hnp.arrays(np.float32, (2, 1, 3, 3), elements=st.floats(-1, 2, width=32))


@given(unit, ends)
@settings(max_examples=60)
def test_prop_a_network_that_does_nothing_returns_its_input(x: Float, both: tuple[float, float]) -> None:
    y = subject(lambda t: t, range_in=both, range_out=both).translate(x)
    low, high = both
    # Stored numbers as large as 2 (|low| + width) lose half a unit in the last of 24 bits, twice.
    lost = 2**-21 * (abs(low) + (high - low)) / (high - low)
    np.testing.assert_allclose(y, x, atol=lost + 1e-6)


@given(unit, ends, ends)
@settings(max_examples=60)
def test_prop_mapping_keeps_the_order_of_values(
    x: Float, range_in: tuple[float, float], range_out: tuple[float, float]
) -> None:
    y = subject(lambda t: t, range_in=range_in, range_out=range_out).translate(x)
    order = np.argsort(x, axis=None)
    assert (np.diff(y.ravel()[order]) >= 0).all()


def test_a_detector_is_read_as_it_comes() -> None:
    detector = subject(lambda x: x * 100 - 3, task="segmentation", range_in=(0.0, 1.0), range_out=(0.0, 9.0))
    logits = detector.read(X)
    assert logits.shape == (3, 8, 8)
    np.testing.assert_allclose(logits, X[:, 0] * 100 - 3, rtol=1e-6)


def test_reading_is_the_same_each_time() -> None:
    detector = subject(lambda x: x + torch.randn_like(x))
    np.testing.assert_array_equal(detector.read(X), detector.read(X))


# Shapes


def test_the_images_need_the_channels_of_the_card() -> None:
    two = np.zeros((1, 2, 8, 8), np.float32)
    for call in (subject(lambda x: x).translate, subject(lambda x: x).read):
        error = refused(lambda call=call: call(two))
        assert "number of channels" in error.problem
        assert str(error.expected).startswith("1 ")
        assert str(error.found).startswith("2 ")


def test_channels_may_differ_between_input_and_output() -> None:
    several = subject(lambda x: x.mean(1, keepdim=True), channels_in=3, range_in=(0.0, 1.0), range_out=(0.0, 1.0))
    x = child(1, "test images").random((2, 3, 4, 4), np.float32)
    np.testing.assert_allclose(several.translate(x), x.mean(1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize(
    ("does", "problem", "found"),
    [
        (lambda x: x[:, :, ::2, ::2], "another shape", "(3, 1, 4, 4)"),
        (lambda x: x.repeat(1, 2, 1, 1), "another shape", "(3, 2, 8, 8)"),
        (lambda x: x[:, 0], "another shape", "(3, 8, 8)"),
        (lambda x: x[:1], "another number of images", "(1, 1, 8, 8)"),
        (lambda x: x.mean(), "another number of images", "()"),
        (lambda x: (x, x), "something other than one tensor", "a tuple of 2"),
        (lambda x: [x], "something other than one tensor", "a list of 1"),
        (lambda x: {"image": x}, "something other than one tensor", "a dict"),
        (lambda x: None, "something other than one tensor", "a NoneType"),
    ],
)
@pytest.mark.parametrize("protocol", ["translate", "read"])
def test_the_output_has_to_be_one_image_each(
    does: Callable[[Tensor], Any], problem: str, found: str, protocol: str
) -> None:
    error = refused(lambda: getattr(subject(does), protocol)(X))
    assert problem in error.problem
    assert found in str(error.found)
    assert "3" in str(error.expected) or "one" in str(error.expected)


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, AssertionError, KeyError, ZeroDivisionError, IndexError])
def test_an_error_inside_the_model_is_told_as_one(kind: type[Exception]) -> None:
    def does(x: Tensor) -> Tensor:
        raise kind("a first line\nmat1 and mat2 shapes cannot be multiplied\n")

    error = refused(lambda: subject(does).translate(X))
    assert "raised an error" in error.problem
    assert "cannot be multiplied" in str(error.found)
    assert "(3, 1, 8, 8)" in str(error.expected)
    assert isinstance(error.__cause__, kind)


def test_an_error_without_words_is_named_by_its_kind() -> None:
    def does(x: Tensor) -> Tensor:
        raise NotImplementedError

    assert refused(lambda: subject(does).translate(X)).found == "NotImplementedError"


def test_being_interrupted_is_no_error_of_the_model() -> None:
    def does(x: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        subject(does).translate(X)


def test_other_number_types_come_back_as_float32() -> None:
    for kind in (torch.float64, torch.float16, torch.bfloat16):
        y = subject(lambda x, kind=kind: (x > 0).to(kind), range_out=(0.0, 1.0)).translate(X)
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, X > 0.5)


def test_arrays_of_any_layout_are_taken() -> None:
    model = subject(lambda x: x)
    turned = np.asfortranarray(X)[:, :, ::-1]
    np.testing.assert_allclose(model.translate(turned), turned, atol=1e-6)


def test_the_input_is_left_alone() -> None:
    x = X.copy()
    subject(lambda t: t.mul_(0), range_in=(0.0, 1.0)).translate(x)
    np.testing.assert_array_equal(x, X)


# Randomness


def test_the_seed_fixes_what_is_random_inside() -> None:
    noisy = subject(lambda x: nn.functional.dropout(x, 0.5, training=True) + torch.randn_like(x))
    first = noisy.translate(X, seed=5)
    np.testing.assert_array_equal(first, noisy.translate(X, seed=5))
    assert not np.array_equal(first, noisy.translate(X, seed=6))
    assert not np.array_equal(first, noisy.translate(X))
    assert noisy.translate(X, seed=2**64 - 1).shape == X.shape


def test_a_stored_model_that_drops_at_random_is_repeatable(torchscript: MakeModel) -> None:
    path = torchscript(Given(lambda x: nn.functional.dropout(x, 0.5, training=True)))
    model = load_subject(str(path))
    first = model.translate(X, seed=5)
    np.testing.assert_array_equal(first, load_subject(str(path)).translate(X, seed=5))
    assert not np.array_equal(first, model.translate(X, seed=6))


def test_running_a_model_draws_nothing_from_the_random_numbers_of_others() -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    subject(lambda x: torch.randn_like(x)).translate(X, seed=5)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_no_gradients_are_kept() -> None:
    kept: list[bool] = []
    layer = nn.Conv2d(1, 1, 1)

    def does(x: Tensor) -> Tensor:
        y: Tensor = layer(x)
        kept.append(y.requires_grad)
        return y

    subject(does).translate(X)
    assert kept == [False]


# Networks for batches of one


def test_one_at_a_time_equals_the_batch() -> None:
    layer = nn.Conv2d(1, 1, 3, padding=1)
    sizes: list[int] = []

    def does(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return layer(x)  # type: ignore[no-any-return]

    whole = TorchNetwork(Given(does), "cpu")
    np.testing.assert_allclose(OneAtATime(whole)(X, 0), whole(X, 0), atol=1e-6)
    assert sizes == [1, 1, 1, 3]


def test_one_at_a_time_draws_anew_for_each_image() -> None:
    one = OneAtATime(TorchNetwork(Given(torch.randn_like), "cpu"))
    first = one(X, 5)
    np.testing.assert_array_equal(first, one(X, 5))
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, one(X, 6))


def test_an_export_for_one_image_takes_any_batch(exported: MakeModel, onnx_model: MakeModel) -> None:
    for path in (exported("fixed"), onnx_model(batch=1)):
        assert load_subject(str(path)).translate(X).shape == X.shape
        assert isinstance(reader_of(path)[1](path, "cpu")[0], OneAtATime)


def test_an_export_for_another_size_says_so(exported: MakeModel) -> None:
    path = exported("fixed")
    with pytest.raises(ModelError, match="raised an error on its input") as caught:
        load_subject(str(path)).translate(np.zeros((1, 1, 16, 16), np.float32))
    assert caught.value.where == str(path)


# ONNX


def test_an_onnx_graph_has_one_input_and_one_output(onnx_model: MakeModel) -> None:
    for path, problem, found in (
        (onnx_model(name="a.onnx", inputs=2), "takes something other than one tensor", "2 inputs: x0, x1"),
        (onnx_model(name="b.onnx", inputs=0), "takes something other than one tensor", "0 inputs"),
        (onnx_model(name="c.onnx", outputs=2), "returned something other than one tensor", "a list of 2"),
    ):
        with pytest.raises(ModelError, match=problem) as caught:
            load_subject(str(path)).translate(X)
        assert found in str(caught.value.found)
        assert caught.value.where == str(path)


def test_an_error_of_the_onnx_runtime_is_told_as_the_models(onnx_model: MakeModel) -> None:
    path = onnx_model(batch=5)
    with pytest.raises(ModelError, match="raised an error on its input") as caught:
        load_subject(str(path)).translate(X)
    assert caught.value.found
    assert caught.value.where == str(path)


# The Record


def test_goes_into_the_record_whole() -> None:
    model = subject(lambda x: x)
    assert model.as_dict() == {
        "name": "made up",
        "version": "1",
        "task": "translation",
        "file": "made-up.pt",
        "format": "TorchScript",
        "sha256": "ab" * 32,
        "parameters": 7,
        "card": model.card.as_dict(),
    }


def enlarging(rows: int, columns: int) -> Callable[[Tensor], Tensor]:
    return lambda x: x.repeat_interleave(rows, 2).repeat_interleave(columns, 3)


@pytest.mark.parametrize("scale", [(2, 2), (3, 1), (1, 1)])
def test_a_super_resolver_returns_a_finer_grid(scale: tuple[int, int]) -> None:
    y = subject(enlarging(*scale), task="super-resolution", scale=scale).upscale(X)

    np.testing.assert_allclose(y, X.repeat(scale[0], 2).repeat(scale[1], 3), atol=1e-6)


def test_a_super_resolver_keeps_the_scale_of_its_card() -> None:
    error = refused(lambda: subject(enlarging(2, 2), task="super-resolution", scale=(3, 1)).upscale(X))

    assert "(3, 1, 24, 8)" in str(error.expected)
    assert "(3, 1, 16, 16)" in str(error.found)


def asked(z: Tensor) -> Tensor:
    """What a sampler was asked for, as pixels: the last three numbers of its vector."""
    return z[:, -3:].reshape(-1, 1, 1, 3) + 0 * z[:, :1, None, None]


def test_a_sampler_of_classes_is_asked_for_each_in_turn_or_for_one() -> None:
    sampler = subject(asked, task="synthesis", latent_dim=5, classes=("a", "b", "c"), range_out=(0.0, 1.0))

    turns = sampler.sample(70, seed=0)[:, 0, 0]
    np.testing.assert_array_equal(turns.argmax(axis=1), np.arange(70) % 3)
    np.testing.assert_array_equal(sampler.sample(6, seed=0, first=64)[:, 0, 0], turns[64:])
    np.testing.assert_array_equal(sampler.sample(4, seed=0, label="b")[:, 0, 0], [[0, 1, 0]] * 4)
    with pytest.raises(ValueError, match="no class 'd'"):
        sampler.sample(1, seed=0, label="d")


def test_images_of_two_classes_share_their_latent_vectors() -> None:
    sampler = subject(
        lambda z: z[:, :5].reshape(-1, 1, 1, 5), task="synthesis", latent_dim=5, classes=("a", "b"), range_out=(0, 1)
    )

    np.testing.assert_array_equal(sampler.sample(9, 3, label="a"), sampler.sample(9, 3, label="b"))
