"""What a run was computed with: packages, commit, machine, threads, determinism; and its command without secrets."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

import medgan_qa
from medgan_qa.cohorts.pseudonyms import Pseudonyms, looks_direct

NAME = "medgan-qa"
FOR_DEVELOPERS = frozenset({"dev"})
"""Extras with what the project is built and tested with; nothing of it runs in an audit."""
GIT_TIMEOUT_S = 5.0
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
HIDDEN = "***"
# Letters only, so that api-key, API_KEY and apiKey are one word.
SECRET_WORDS = ("password", "passwd", "passphrase", "secret", "token", "apikey", "credential")
USERINFO = re.compile(r"://[^/?#\s]*@")
FREE_TEXT = ("--allow", "--document-id", "--document-revision", "--modification", "--name", "--reason")
"""Options whose value is somebody's words, never a path."""
FILES = (".csv", ".json", ".onnx", ".parquet", ".pem", ".pt", ".pt2", ".safetensors", ".toml")
SEPARATORS = re.compile(r"[/\\]+")


def environment(device: str = "cpu") -> dict[str, Any]:
    """What the Record says of the software and the machine.

    Nothing is imported for it: what torch was set to is read where torch was loaded anyway.

    Args:
        device: where the subject runs; accelerators are named for other devices than `cpu` only, because to ask for
            them initialises their driver.

    Returns:
        `python`, `platform`, `packages`, `commit` and `dirty` (None with a `commit_reason`), `hardware`, `threads`,
        `determinism`.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages(),
        **checkout(),
        "hardware": hardware(device),
        "threads": threads(),
        "determinism": determinism(),
    }


def packages() -> dict[str, str]:
    """Version by name of every installed distribution that medgan-qa needs, its optional extras included.

    Requirements are followed to the end; one that does not apply to this interpreter or platform is left out, and so is
    what only developers need. Sorted by name. Empty where medgan-qa itself is not installed.
    """
    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    left = [(NAME, _extras(NAME) - FOR_DEVELOPERS)]
    while left:
        name, extras = left.pop()
        key = canonicalize_name(name), frozenset(extras)
        installed = _installed(name)
        if key in seen or installed is None:
            continue
        seen.add(key)
        found[installed.name] = installed.version
        left += [(needed.name, needed.extras) for needed in _requirements(installed.requires or (), extras)]
    found.pop(NAME, None)
    return dict(sorted(found.items(), key=lambda item: canonicalize_name(item[0])))


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _extras(name: str) -> set[str]:
    installed = _installed(name)
    return set() if installed is None else set(installed.metadata.get_all("Provides-Extra") or ())


def _requirements(texts: Iterable[str], extras: Iterable[str]) -> Iterable[Requirement]:
    for text in texts:
        try:
            needed = Requirement(text)
        except InvalidRequirement:  # of an old distribution; pip could not follow it either
            continue
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield needed


def checkout() -> dict[str, Any]:
    """Commit of the checkout that the package is imported from, and whether files in it differ from that commit.

    Returns:
        `commit` and `dirty`; both None, with a `commit_reason`, where the package comes from elsewhere (an installed
        wheel), or git is missing or does not answer.
    """
    root = Path(medgan_qa.__file__).resolve().parent.parent
    try:
        _require_own_checkout(root)
        commit = _git(root, "rev-parse", "--verify", "HEAD")
        return {"commit": commit, "dirty": bool(_git(root, "status", "--porcelain"))}
    except _NoCommitError as error:
        return {"commit": None, "dirty": None, "commit_reason": str(error)}


class _NoCommitError(Exception):
    """Why there is no commit to name."""


def _require_own_checkout(root: Path) -> None:
    """Refuse a repository that merely surrounds the package, such as one with a virtual environment in it."""
    if not (root / ".git").exists() or _project(root / "pyproject.toml") != NAME:
        raise _NoCommitError("installed from a package, not from a checkout")
    if not _git(root, "ls-files", "medgan_qa/__init__.py"):
        raise _NoCommitError("the package is not under version control")


def _project(file: Path) -> Any:
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None
    return project.get("name") if isinstance(project, dict) else None


def _git(root: Path, *arguments: str) -> str:
    # A hook's GIT_DIR would point to another repository; a file monitor is a program that the repository names.
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(root), *arguments]
    try:
        done = subprocess.run(
            command, env={**own, "LC_ALL": "C"}, capture_output=True, timeout=GIT_TIMEOUT_S, check=True
        )
    except FileNotFoundError as error:
        raise _NoCommitError("git is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise _NoCommitError(f"git did not answer within {GIT_TIMEOUT_S:g} s") from error
    except (OSError, subprocess.CalledProcessError) as error:
        told = getattr(error, "stderr", None) or str(error).encode()
        raise _NoCommitError(f"git: {told.decode(errors='replace').strip().splitlines()[0]}") from error
    return done.stdout.decode(errors="replace").strip()


def hardware(device: str) -> dict[str, Any]:
    """Processor, cores that this process may use, memory in GB (1e9 bytes), and names of accelerators."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": _memory_gb(),
        "accelerators": _accelerators(device),
    }


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    named = re.search(r"^model name\s*:\s*(\S.*)$", text, re.MULTILINE)
    return named[1].strip() if named else platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    except (ValueError, OSError):
        return None


def _accelerators(device: str) -> list[str]:
    torch = sys.modules.get("torch")
    if torch is None or device.split(":")[0] == "cpu":
        return []
    if device.startswith("cuda") and torch.cuda.is_available():
        return [str(torch.cuda.get_device_name(index)) for index in range(torch.cuda.device_count())]
    return [device]


def threads() -> dict[str, Any]:
    """Threads that torch uses (None where it is not loaded), and the variables that set them, as they are set."""
    torch = sys.modules.get("torch")
    used = {
        "torch": None if torch is None else torch.get_num_threads(),
        "torch_interop": None if torch is None else torch.get_num_interop_threads(),
    }
    return {**used, **{name: os.environ.get(name) for name in THREAD_VARIABLES}}


def determinism() -> dict[str, Any]:
    """Settings that results may depend on; those of torch are None where it is not loaded."""
    torch = sys.modules.get("torch")
    flags = dict.fromkeys(
        ("deterministic_algorithms", "cudnn_deterministic", "cudnn_benchmark", "float32_matmul_precision")
    )
    if torch is not None:
        flags = {
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "cudnn_deterministic": torch.backends.cudnn.deterministic,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
        }
    return {**flags, **{name: os.environ.get(name) for name in ("CUBLAS_WORKSPACE_CONFIG", "PYTHONHASHSEED")}}


def command_line(argv: Sequence[str]) -> list[str]:
    """The command without secrets, without folders, and without characters that JSON cannot hold.

    The value of an option or assignment whose name speaks of a secret (password, passphrase, secret, token, API key,
    credential) becomes `***`, and URLs lose their user and password. An option hides what follows it whatever that is,
    because a secret may look like an option. Options that name a file with a key keep it.

    A path keeps its last part alone, because folders are named after patients and people; where that looks like an
    identifier of a patient too, it becomes a pseudonym. The values of options in `FREE_TEXT` stay as they are.
    """
    shown: list[str] = []
    before = ""
    for argument in argv:
        if _hides_next(before):
            shown.append(HIDDEN)
            before = ""
            continue
        readable = USERINFO.sub("://", argument.encode("utf-8", "backslashreplace").decode())
        shown.append(_without_values(readable, is_text=before in FREE_TEXT))
        before = argument
    return shown


def _hides_next(option: str) -> bool:
    return option.startswith("-") and "=" not in option and _is_secret(option)


def _without_values(argument: str, *, is_text: bool = False) -> str:
    name, sign, value = argument.partition("=")
    if not sign:
        return argument if is_text else _last_part(argument)
    shown = HIDDEN if _is_secret(name) else _without_values(value, is_text=is_text or name in FREE_TEXT)
    return f"{name if is_text else _last_part(name)}={shown}"


def _last_part(argument: str) -> str:
    """The name of a file or folder without those that it lies in; anything else as it is."""
    if "://" in argument and not argument.startswith("file:"):
        return argument
    parts = [part for part in SEPARATORS.split(argument) if part]
    is_path = len(parts) > 1 or SEPARATORS.search(argument) or argument.lower().endswith(FILES) or _exists(argument)
    if not parts or not is_path:
        return argument
    suffix = next((suffix for suffix in FILES if parts[-1].lower().endswith(suffix)), "")
    if not looks_direct(parts[-1].lower().removesuffix(suffix)):
        return parts[-1]
    return Pseudonyms().of("file", parts[-1]) + suffix


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):  # too long, or no name at all
        return False


def _is_secret(name: str) -> bool:
    letters = "".join(character for character in name.lower() if character.isalnum())
    return any(word in letters for word in SECRET_WORDS)
