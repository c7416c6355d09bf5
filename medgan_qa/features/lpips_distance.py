"""LPIPS through the lpips package, when its trunk weights are on this machine. Nothing is downloaded.

The package ships its linear heads (a few kB) and takes the AlexNet trunk from torchvision, which would fetch it from
the network on first use. An audit must not do that, so the trunk is looked for first.
"""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medgan_qa.features.weights import FOLDER_VARIABLE, STANDARD, find_file

TRUNK = STANDARD["lpips-alexnet"].file
"""torchvision's file name of the AlexNet weights (IMAGENET1K_V1); the last eight digits begin its SHA-256."""
SMALLEST = 64
"""Pixels of the shorter side that the trunk's pooling needs."""


def trunk_file() -> Path | None:
    """Where the trunk weights are: the managed folder, or torch's own cache of downloads; None if nowhere."""
    return find_file(TRUNK)


class LpipsDistance:
    """LPIPS (Zhang et al. 2018), AlexNet trunk, version 0.1 heads.

    Args:
        trunk: the trunk's weights, as torchvision stores them.
        device: where to run.
    """

    def __init__(self, trunk: Path, device: str) -> None:
        import lpips
        import torch

        self.device = device
        with warnings.catch_warnings():
            # lpips names its trunk the way torchvision did before 0.13.
            warnings.filterwarnings("ignore", "The parameter 'pretrained' is deprecated", UserWarning)
            warnings.filterwarnings("ignore", "Arguments other than a weight enum", UserWarning)
            # The package's own trunk starts with random weights here (pnet_rand) and is then given the file's.
            self.model = lpips.LPIPS(net="alex", version="0.1", pnet_rand=True, verbose=False).eval().to(device)
        weights = torch.load(trunk, map_location="cpu", weights_only=True)
        for name in ("slice1", "slice2", "slice3", "slice4", "slice5"):
            for index, layer in getattr(self.model.net, name).named_children():
                layer.load_state_dict({k: weights[f"features.{index}.{k}"] for k in layer.state_dict()})

    def distance(self, a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
        """LPIPS of two (H, W) images in unit range; 0 for equal ones, larger is more different.

        Values beyond [0, 1] are clipped, grey is repeated to three channels, and images with a side below 64 pixels are
        enlarged bilinearly until the shorter one has 64.
        """
        import torch

        pair = torch.from_numpy(np.stack([a, b]).astype(np.float32).clip(0, 1) * 2 - 1)[:, None].repeat(1, 3, 1, 1)
        pair = pair.to(self.device)
        shorter = min(pair.shape[-2:])
        if shorter < SMALLEST:
            size = [round(side * SMALLEST / shorter) for side in pair.shape[-2:]]
            pair = torch.nn.functional.interpolate(pair, size=size, mode="bilinear", align_corners=False)
        with torch.inference_mode():
            return float(self.model(pair[:1], pair[1:]).item())


def find_lpips(device: str) -> LpipsDistance | str:
    """LPIPS if it can be computed here, else the sentence that says why not and what to do."""
    trunk = trunk_file()
    if trunk is None:
        return (
            f"the AlexNet trunk weights {TRUNK} are not on this machine. Copy that file (torchvision's IMAGENET1K_V1 "
            f"weights of AlexNet) into a folder and name it in the environment variable {FOLDER_VARIABLE}."
        )
    try:
        with trunk.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if not digest.startswith(Path(TRUNK).stem.rpartition("-")[2]):
            return (
                f"the weights {trunk} are damaged or another file: their SHA-256 begins with {digest[:8]}, not with "
                "the digits at the end of the file's name. Copy the file again."
            )
        return LpipsDistance(trunk, device)
    except Exception as error:  # what breaks is another package's: torchvision beside this torch, lpips, the disk
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return f"the weights {trunk} could not be used ({lines[0]})."
