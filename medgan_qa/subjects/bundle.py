"""MONAI bundles as models: the network's definition out of the configuration, its weights out of `models/`.

A bundle's configuration is a program: whatever begins with `$` is Python that MONAI evaluates, `_target_` names
anything that can be imported. Nothing of it is evaluated here. One table is read, the network's: a class of
`monai.networks.nets` with plain arguments, in which references to plain values elsewhere (`@spatial_dims`) are put in
place. A bundle with `models/model.ts` and no `models/model.pt` is read as the TorchScript file that it holds.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgan_qa.errors import MissingDependencyError, ModelError
from medgan_qa.subjects.archives import members_of
from medgan_qa.subjects.bundle_config import CONFIGS, Definition, definition_in, parse_config
from medgan_qa.subjects.card import EXTRA_FILE
from medgan_qa.subjects.networks import TorchNetwork
from medgan_qa.subjects.refusals import damaged
from medgan_qa.subjects.state import load_plain, load_strictly, tensors_in

if TYPE_CHECKING:
    from medgan_qa.subjects.formats import Loaded

WEIGHTS, SCRIPT = "models/model.pt", "models/model.ts"
METADATA = "configs/metadata.json"
LARGEST_CONFIG = 4 * 2**20
NETS = "monai.networks.nets"


class _Files:
    """The files of a bundle, a folder or a zip archive that holds one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inside: dict[str, str] = {}
        if path.is_dir():
            return
        names = [info.filename for info in members_of(path, one_folder=False) if not info.is_dir()]
        tops = {name.partition("/")[0] for name in names}
        top = f"{tops.pop()}/" if len(tops) == 1 else ""
        self.inside = {name.removeprefix(top): name for name in names}

    def __contains__(self, name: str) -> bool:
        return name in self.inside or (self.path.is_dir() and (self.path / name).is_file())

    def read(self, name: str, most: int | None = None) -> bytes:
        """One file's content.

        Raises:
            ModelError: it is larger than `most`, or damaged.
            OSError: it cannot be opened.
        """
        if self.path.is_dir():
            size, where = (self.path / name).stat().st_size, self.path / name
        else:
            with zipfile.ZipFile(self.path) as archive:
                size, where = archive.getinfo(self.inside[name]).file_size, self.path
        if most is not None and size > most:
            raise damaged(where, f"{name} of {size} bytes; at most {most} are read")
        if self.path.is_dir():
            return where.read_bytes()
        try:
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(self.inside[name])
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise damaged(self.path, f"{name}: {error}") from error


def is_bundle(path: Path) -> bool:
    """Whether a folder is laid out as a MONAI bundle: `configs/` and a model in `models/`."""
    try:
        return path.is_dir() and _is_complete(_Files(path))
    except OSError:  # a name too long for the file system, a folder that may not be entered
        return False


def is_packed_bundle(path: Path) -> bool:
    """Whether a zip archive holds a MONAI bundle.

    Raises:
        ModelError: the archive is refused.
        OSError: it cannot be opened.
    """
    return zipfile.is_zipfile(path) and _is_complete(_Files(path))


def _is_complete(files: _Files) -> bool:
    return any(name in files for name in (*CONFIGS, METADATA)) and (WEIGHTS in files or SCRIPT in files)


def read_bundle(path: Path, device: str) -> Loaded:
    """Read the network of a bundle.

    Returns:
        Network; card (`medgan_qa_card.toml` in the bundle or its `configs/`, empty without it); number of parameters.

    Raises:
        ModelError: it is no bundle, its network is defined by more than a class with plain arguments, or its weights
            are refused or do not fit.
        MissingDependencyError: MONAI is not installed.
        OSError: a file cannot be opened.
    """
    files = _Files(path)
    card = next(
        (files.read(name, LARGEST_CONFIG) for name in (EXTRA_FILE, f"configs/{EXTRA_FILE}") if name in files), b""
    )
    if WEIGHTS not in files and SCRIPT in files:
        return _read_script(files, device, card)
    definition = _definition(files)
    network = _built(definition, files)
    state = tensors_in(load_plain(io.BytesIO(files.read(WEIGHTS)), path), path)
    load_strictly(network, state, path)
    network = network.eval().to(device)
    return TorchNetwork(network, device), card, sum(p.numel() for p in network.parameters())


def metadata_of(path: Path) -> dict[str, Any]:
    """What a bundle says of itself (`configs/metadata.json`); empty where it says nothing.

    Raises:
        ModelError: it is no JSON.
        OSError: it cannot be opened.
    """
    files = _Files(path)
    return parse_config(files.read(METADATA, LARGEST_CONFIG), METADATA, path) if METADATA in files else {}


def _read_script(files: _Files, device: str, card: bytes) -> Loaded:
    from medgan_qa.subjects.torchscript import read_torchscript

    if files.path.is_dir():
        script = read_torchscript(files.path / SCRIPT, device, (EXTRA_FILE,))
    else:
        with tempfile.TemporaryDirectory() as folder:
            unpacked = Path(folder) / "model.ts"
            unpacked.write_bytes(files.read(SCRIPT))
            try:
                script = read_torchscript(unpacked, device, (EXTRA_FILE,))
            except ModelError as error:
                error.where = f"{files.path} ({SCRIPT})"
                raise
    parameters = sum(p.numel() for p in script.module.parameters())
    return TorchNetwork(script.module, device), card or script.extra[EXTRA_FILE], parameters


def _definition(files: _Files) -> Definition:
    name = next((name for name in CONFIGS if name in files), None)
    if name is None or WEIGHTS not in files:
        raise ModelError(
            "The folder is no MONAI bundle.",
            expected=f"{CONFIGS[0]} (or .yaml) and {WEIGHTS}, or {SCRIPT}",
            found=f"no {WEIGHTS} and no {SCRIPT}" if name else "no configuration for inference",
            where=files.path,
            todo="Name the bundle's own folder, or its .zip.",
        )
    return definition_in(parse_config(files.read(name, LARGEST_CONFIG), name, files.path), name, files.path)


def _built(definition: Definition, files: _Files) -> Any:
    try:
        import monai.networks.nets as nets
    except ImportError as error:
        raise MissingDependencyError(
            "MONAI bundles need MONAI.",
            expected="the monai extra",
            found=str(error),
            where=files.path,
            todo="pip install 'medgan-qa[monai]'",
        ) from error
    from torch import nn

    found = getattr(nets, definition.name, None)
    if not isinstance(found, type) or not issubclass(found, nn.Module) or not found.__module__.startswith(NETS):
        raise definition.refused(f"_target_ {definition.target!r}, which is no network of {NETS}")
    try:
        return found(**definition.arguments)
    except Exception as error:  # a network may raise anything on a wrong configuration
        said = " ".join(str(error).split())[:300]
        raise definition.refused(f"arguments that {definition.name} refuses: {said or type(error).__name__}") from error
