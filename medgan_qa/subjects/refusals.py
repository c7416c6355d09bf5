"""What is said of a model file that is damaged, or that could do more than compute."""

from __future__ import annotations

from pathlib import Path

from medgan_qa.errors import ModelError

EXPORT = "Export the model: torch.jit.trace(model.eval(), example).save('model.pt')."


def damaged(path: Path, found: str) -> ModelError:
    """The error for a file that cannot be read to its end."""
    return ModelError(
        "The model file is damaged or truncated.",
        expected="a whole model file",
        found=found.strip().splitlines()[0] if found.strip() else "a file that cannot be read to its end",
        where=path,
        todo="Export or copy the model again.",
    )


def unsafe(path: Path, found: str, todo: str = EXPORT) -> ModelError:
    """The error for a file that was refused before anything in it could run."""
    return ModelError(
        "The model file could run code when it is read, and was refused.",
        expected="a file that holds a network, tensors and plain values only",
        found=found,
        where=path,
        todo=todo,
    )


def forbidden(path: Path, found: str) -> ModelError:
    """The error for a network that uses an operator outside the list."""
    return ModelError(
        "The model uses an operator that a network does not need, and was refused.",
        expected="operators on tensors and numbers (medgan_qa/subjects/operators.txt)",
        found=found,
        where=path,
        todo="Export the network alone, without reading or writing files, printing or measuring time.",
    )


def refused_by_unpickler(text: str) -> str:
    """What `torch.load(weights_only=True)` refused to do, out of its long message; empty if it refused nothing."""
    for line in text.splitlines():
        # A global is a function or class that the pickle names; an operand, a step that plain values do not need.
        if "GLOBAL" in line or "Unsupported" in line:
            return line.strip().removeprefix("WeightsUnpickler error: ").split(". ")[0][:160]
    return ""
