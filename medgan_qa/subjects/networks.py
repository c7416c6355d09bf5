"""Networks of any format behind one call: float32 (N, C, H, W) in, float32 out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medgan_qa.errors import MedganQAError, ModelCrashError, ModelError
from medgan_qa.rng import child_seed

if TYPE_CHECKING:
    import torch

Float = NDArray[np.float32]

NO_MEMORY = ("can't allocate memory", "defaultcpuallocator", "not enough memory", "out of memory", "bad_alloc",
             "failed to allocate", "cannot allocate memory", "bfcarena", "insufficient memory")  # fmt: skip
"""How torch, onnxruntime and the C++ library say that memory ran out, in lower case."""


class OutOfMemoryError(ModelCrashError):
    """The batch does not fit into the memory that the model may have; a smaller one may."""


class Network(Protocol):
    """A forward function."""

    def __call__(self, x: Float, seed: int) -> Float:
        """Run the network on a batch; `seed` fixes whatever is random inside."""


class TorchNetwork:
    """A torch module (TorchScript, exported program, reference checkpoint) on a device."""

    def __init__(self, module: Any, device: str) -> None:
        self.module, self.device = module, device

    def __call__(self, x: Float, seed: int) -> Float:
        """Run the module on a batch, without gradients.

        Raises:
            ModelError: the module raised; its message is kept.
            OutOfMemoryError: the batch does not fit into memory.
        """
        import torch

        devices = [torch.device(self.device)] if self.device.startswith("cuda") else []
        with torch.inference_mode(), torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed % 2**63)
            try:
                out = self.module(torch.from_numpy(np.ascontiguousarray(x)).to(self.device))
            except Exception as error:  # a model is somebody else's code and raises what it likes
                raise _raised(error, x) from error
            return _array(out, x)


class OnnxNetwork:
    """An ONNX graph run by onnxruntime on the CPU."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.inputs = [given.name for given in session.get_inputs()]

    def __call__(self, x: Float, seed: int) -> Float:
        """Run the graph on a batch; ONNX graphs that draw random numbers carry their own seed, so `seed` is not used.

        Raises:
            ModelError: the graph takes or returns more than one tensor, or the runtime raised; its message is kept.
            OutOfMemoryError: the batch does not fit into memory.
        """
        if len(self.inputs) != 1:
            raise ModelError(
                "The model takes something other than one tensor.",
                expected="one input, float32 (N, C, H, W)",
                found=f"{len(self.inputs)} inputs: {', '.join(self.inputs)}",
                todo="Export the graph so that the image is its one input.",
            )
        try:
            out = self.session.run(None, {self.inputs[0]: np.ascontiguousarray(x)})
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise _raised(error, x) from error
        return _array(out[0] if len(out) == 1 else out, x)


class OneAtATime:
    """A network that was exported for batches of one image, given its batches image by image."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def __call__(self, x: Float, seed: int) -> Float:
        """Run the network on each image of a batch, with a seed of its own each.

        Raises:
            ModelError: the network raised; its message is kept.
        """
        seeds = (child_seed(seed, "image", k) for k in range(len(x)))
        return np.concatenate([self.network(x[k : k + 1], s) for k, s in enumerate(seeds)])


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception, or what it was raised from, says that memory ran out."""
    known: BaseException | None = error
    while known is not None:
        text = str(known).lower()
        if isinstance(known, MemoryError | OutOfMemoryError) or any(said in text for said in NO_MEMORY):
            return True
        known = known.__cause__
    return False


def out_of_memory(found: str) -> OutOfMemoryError:
    """The error of a batch that did not fit."""
    return OutOfMemoryError(
        "The model ran out of memory.",
        expected="a batch that fits into the memory that a model may have",
        found=found,
        todo="Give it more with MEDGAN_QA_MODEL_MEMORY_MB, or run it on a machine that has more.",
    )


def _raised(error: Exception, x: Float) -> MedganQAError:
    if is_out_of_memory(error):
        return out_of_memory(f"no memory for {len(x)} image{'s' * (len(x) != 1)} of shape {tuple(x.shape[1:])}")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ModelError(
        "The model raised an error on its input.",
        expected=f"forward accepts float32 of shape {tuple(x.shape)}",
        found=lines[-1] if lines else type(error).__name__,
        todo="Check channels_in of the card against the network, and the image size against what the network needs.",
    )


def _array(out: torch.Tensor | Any, x: Float) -> Float:
    if hasattr(out, "detach"):
        out = out.detach().float().cpu().numpy()
    if not isinstance(out, np.ndarray):
        raise ModelError(
            "The model returned something other than one tensor.",
            expected="one float32 tensor (N, C, H, W)",
            found=f"a {type(out).__name__}" + (f" of {len(out)}" if isinstance(out, list | tuple) else ""),
            todo="Wrap the model so that forward returns the image alone.",
        )
    if out.shape[:1] != x.shape[:1]:
        raise ModelError(
            "The model returned another number of images than it was given.",
            expected=f"{x.shape[0]} images",
            found=f"shape {tuple(out.shape)}",
            todo="Check that forward keeps the batch dimension.",
        )
    return out.astype(np.float32, copy=False)
