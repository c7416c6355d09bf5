"""The perturbations of ROB-002: changes of an input that a scanner makes every day."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits.translation import Item
from medgan_qa.errors import ConfigurationError
from medgan_qa.metrics.perturbations import biased, gamma_changed, gaussian_noise, rician_noise, shifted

CODE = "ROB-002"

Float = NDArray[np.float32]

NOISES = {"rician": rician_noise, "gaussian": gaussian_noise}


class Perturbation(NamedTuple):
    """A change of the input, and how to bring what comes out back to where the input was."""

    name: str
    apply: Callable[[Float, np.random.Generator], Float]
    """(C, H, W) and the case's own generator to the same shape."""
    shift: tuple[int, int] = (0, 0)
    """Pixels that it moves the image, down and to the right."""

    def undo(self, image: NDArray[Any]) -> NDArray[Any]:
        """An image or mask of the output, moved back."""
        dy, dx = self.shift
        return shifted(image, -dy, -dx) if self.shift != (0, 0) else image


def perturbations(
    noise: str, noise_sigma: float, bias: float, shift_px: int, gamma: float, scale: float
) -> list[Perturbation]:
    """The perturbations that the audit's parameters ask for; one with a size of 0 is left out.

    Raises:
        ConfigurationError: an unknown kind of noise, a size below 0, or nothing but sizes of 0.
    """
    sizes = {"noise_sigma": noise_sigma, "bias": bias, "shift_px": shift_px, "gamma": gamma, "scale": scale}
    if noise not in NOISES or min(sizes.values()) < 0 or not any(sizes.values()):
        raise ConfigurationError(
            f"The perturbations of {CODE} cannot be made.",
            expected=f"noise one of {', '.join(NOISES)}; sizes of 0 or more, one of them above 0",
            found=", ".join(f"{name} = {value}" for name, value in {"noise": noise, **sizes}.items()),
            where=f'[parameters."{CODE}"] of the criteria file',
            todo=f"`medgan-qa explain {CODE}` lists the parameters.",
        )
    made = [
        Perturbation("noise", lambda x, g: NOISES[noise](x, noise_sigma, g)),
        Perturbation("bias field", lambda x, g: biased(x, bias, g)),
        Perturbation("shift", lambda x, g: shifted(x, shift_px, shift_px), (shift_px, shift_px)),
        Perturbation("gamma", lambda x, g: gamma_changed(x, float(1 + gamma * g.choice((-1, 1))))),
        Perturbation("scale", lambda x, g: (x * np.float32(1 + scale * g.choice((-1, 1)))).astype(np.float32)),
    ]
    return [p for p, size in zip(made, sizes.values(), strict=True) if size]


def perturbed(seed: int, items: Sequence[Item], images: Sequence[Float], p: Perturbation) -> list[Float]:
    """Images of the cases, perturbed; the same draw for every image of a case."""
    draws = [rng.child(seed, CODE, p.name, item.case.case_id) for item in items]
    return [p.apply(image, g) for image, g in zip(images, draws, strict=True)]
