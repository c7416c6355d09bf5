"""The user's own network as an extractor: a TorchScript file, an exported program, an ONNX graph, a checkpoint.

Files are read as models under audit are (`medgan_qa.subjects.formats`): nothing in them is executed by reading them.
"""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.errors import ConfigurationError, ModelError
from medgan_qa.features.network import NetworkExtractor
from medgan_qa.subjects.card import SCHEMA, sidecar
from medgan_qa.subjects.formats import reader_of
from medgan_qa.subjects.load import choose_device, file_sha256, resolve
from medgan_qa.subjects.networks import Network, TorchNetwork

Float = NDArray[np.float32]
CHECKPOINT = "reference checkpoint"
PREFIX = "file:"
"""Of the names of these extractors, so that no file can pass for a standard network by its name."""


class InputCard(NamedTuple):
    """What the card of an extractor says of its input; the card may lack, and so may each key."""

    version: str = "not declared"
    range_in: tuple[float, float] = (0.0, 1.0)
    channels_in: int | None = None


class FileExtractor(NetworkExtractor):
    """Features that a network in a file returns: (N, D), or (N, D, h, w) averaged over space.

    The network is given float32 (N, C, H, W) at the size the images have. Its card (beside the file or in it) may say
    `range_in`, to which the unit range is mapped; `channels_in` 3, for which a grey image is repeated; and `version`.

    Args:
        path: the file.
        device: where to run.
        name: what it is called; `file:` and the file's name if not given.

    Raises:
        ModelError: missing, damaged, unsafe or unknown file; malformed card; a checkpoint whose network has no method
            `features`.
        ConfigurationError: no such device.
        MissingDependencyError: an ONNX file without onnxruntime.
    """

    def __init__(self, path: Path, device: str = "cpu", name: str | None = None) -> None:
        self.path, device = resolve(str(path)), choose_device(device)
        try:
            self.format, reader = reader_of(self.path)
            digest = file_sha256(self.path)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        network, inner, _ = reader(self.path, device)
        self.card = input_card(self.path, inner)
        self.network = _by_features(network, self.path) if self.format.startswith(CHECKPOINT) else network
        super().__init__(name or PREFIX + self.path.name, self.card.version, digest, self._steps(), device)

    def _steps(self) -> dict[str, Any]:
        low, high = self.card.range_in
        return {
            "input": f"unit range mapped to [{low:g}, {high:g}], float32, not clipped, not quantised",
            "channels": "a single channel is repeated three times" if self.card.channels_in == 3 else "as they are",
            "resize": "none",
        }

    def run(self, images: Float) -> Float:
        """Features float32 (N, D) of one batch.

        Raises:
            ModelError: the network raised, or returned another shape.
            ConfigurationError: the images have another number of channels than the card says.
        """
        low, high = self.card.range_in
        wanted = self._channels(images) * np.float32(high - low) + np.float32(low)
        try:
            found = self.network(wanted, 0)
        except ModelError as error:
            # A network does not know the file that it was read from.
            error.where = error.where or str(self.path)
            raise
        return self._rows(found)

    def _channels(self, images: Float) -> Float:
        given, wanted = images.shape[1], self.card.channels_in
        if given == 1 and wanted == 3:
            return np.repeat(images, 3, axis=1)
        if wanted not in (None, given):
            raise ConfigurationError(
                "The extractor takes another number of channels than the images have.",
                expected=f"{wanted} (channels_in of its card)",
                found=str(given),
                where=self.path,
                todo="Correct the card, or choose another extractor.",
            )
        return images

    def _rows(self, found: Float) -> Float:
        if found.ndim not in (2, 4) or 0 in found.shape:
            raise ModelError(
                "The extractor returned something other than features.",
                expected="(N, D), or (N, D, h, w) to be averaged over space",
                found=f"shape {found.shape}",
                where=self.path,
                todo="Export the network so that forward returns one vector an image.",
            )
        return found if found.ndim == 2 else found.mean(axis=(2, 3), dtype=np.float64).astype(np.float32)


class CheckpointExtractor(FileExtractor):
    """Features of a checkpoint whose network has a method `features(x) -> (N, D)`.

    Args:
        path: a checkpoint (`medgan_qa.subjects.checkpoint`).
        device: where to run.
        name: what it is called.

    Raises:
        ModelError: as `FileExtractor`; the file is no checkpoint.
    """

    def __init__(self, path: Path, device: str = "cpu", name: str | None = None) -> None:
        super().__init__(path, device, name)
        if not self.format.startswith(CHECKPOINT):
            raise ModelError(
                "The extractor's file is no checkpoint.",
                expected="a checkpoint of an installed architecture (.safetensors, .pt)",
                found=self.format,
                where=path,
                todo="Write it with medgan_qa.subjects.checkpoint.write_checkpoint.",
            )


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(
        "The extractor's file cannot be read.",
        expected="a file that may be read",
        found=error.strerror or str(error),
        where=path,
        todo="Correct its permissions, or copy it again.",
    )


def _by_features(network: Network, path: Path) -> Network:
    """The checkpoint's network, called by its method `features` in place of `forward`."""
    features = getattr(getattr(network, "module", None), "features", None)
    if not isinstance(network, TorchNetwork) or not callable(features):
        raise ModelError(
            "The checkpoint's network gives no features.",
            expected="a network with a method features(x) that returns (N, D)",
            found=type(getattr(network, "module", network)).__name__,
            where=path,
            todo="Give the network that method, or export its features as TorchScript.",
        )
    return TorchNetwork(features, network.device)


def input_card(path: Path, inner: str | bytes) -> InputCard:
    """What the card beside the file, else the one inside it, says of the extractor's input.

    The card may be of any task: a classifier's or a detector's own serves.

    Raises:
        ModelError: it cannot be read, has another schema, or says a range or number of channels that is none.
    """
    beside = sidecar(path)
    where = str(beside) if beside.exists() else str(path)
    try:
        text = beside.read_bytes() if beside.exists() else inner
        content = tomllib.loads(text if isinstance(text, str) else text.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _card_problem(
            "The extractor's card cannot be read.", "a TOML file in UTF-8", str(error), where
        ) from error
    if not content:
        return InputCard()
    if content.get("schema") != SCHEMA:
        raise _card_problem(
            "The extractor's card has another schema.", f'schema = "{SCHEMA}"', repr(content.get("schema")), where
        )
    low, high = _range(content.get("range_in", [0.0, 1.0]), where)
    channels = content.get("channels_in")
    if channels is not None and (type(channels) is not int or channels < 1):
        raise _card_problem("channels_in is no count.", "a whole number of at least 1", repr(channels), where)
    return InputCard(str(content.get("version", "not declared")), (low, high), channels)


def _range(value: Any, where: str) -> tuple[float, float]:
    numbers = isinstance(value, list) and len(value) == 2 and all(type(v) in (int, float) for v in value)
    if not numbers or not all(map(math.isfinite, value)) or not value[0] < value[1]:
        raise _card_problem(
            "range_in is no range.", "range_in = [low, high], finite, with low < high", repr(value), where
        )
    return float(value[0]), float(value[1])


def _card_problem(problem: str, expected: str, found: str, where: str) -> ModelError:
    return ModelError(problem, expected=expected, found=found, where=where, todo="Correct the card.")
