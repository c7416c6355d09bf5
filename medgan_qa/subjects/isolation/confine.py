"""What a model's process takes from itself before it opens the model's file."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from medgan_qa.subjects.isolation import _libc, landlock, seccomp
from medgan_qa.subjects.isolation.limits import MB

OPEN_FILES = 1024
FIRST_TO_GO = 800
"""How readily the kernel ends this process where memory runs out (0 to 1000), so that it is not the audit."""

SYSTEM = (
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/localtime",
)
MACHINE = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/sys/vm", "/sys/devices/system", "/sys/fs/cgroup")
DEVICES = ("/dev/zero", "/dev/urandom", "/dev/random")
CUDA_READ = ("/proc/driver", "/proc/devices", "/sys/bus/pci", "/sys/devices", "/sys/module", "/usr/local/cuda",
             "/opt/cuda", "/usr/share/nvidia", "/etc/nvidia", "/run/nvidia-persistenced")  # fmt: skip
CUDA_USE = re.compile(r"nvidia.*|dri|dxg|kfd")
"""Names below /dev."""


@dataclass(frozen=True)
class Wanted:
    """What a model's process needs."""

    reads: tuple[Path, ...]
    """The model's file or folder, and whatever else it may read beside Python."""
    scratch: Path
    cuda: bool
    reading_mb: int
    """Memory for reading the model."""
    memory_mb: int
    """Memory from then on."""
    scratch_mb: int
    """What it may write."""
    code: bool
    """The model is a team's own code, so that Python's search path is read."""


def confine(wanted: Wanted) -> dict[str, str]:
    """Give up whatever a network does not need to compute. Nothing of it can be taken back.

    Returns:
        What is in force, for the Record: `network`, `files`, `memory`, each saying why where it is not.
    """
    _limit("RLIMIT_CORE", 0)
    _limit("RLIMIT_FSIZE", wanted.scratch_mb * MB)
    _limit("RLIMIT_NOFILE", OPEN_FILES)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(FIRST_TO_GO))
    # A core file, wherever the system sends it, would hold the images.
    _libc.prctl(_libc.PR_SET_DUMPABLE, 0)
    denied = _libc.prctl(_libc.PR_SET_NO_NEW_PRIVS, 1)
    if denied is None:
        with contextlib.suppress(OSError):
            _libc.drop_capabilities()
    files = _files(wanted) if denied is None else f"not restricted: {denied}"
    memory = _memory(wanted)
    confined = files.startswith("landlock")
    # Drivers open their devices for writing, so only Landlock can tell these from files.
    writing = confined or wanted.cuda
    refused = denied or seccomp.refuse_calls(writing=writing, memfd=wanted.cuda)
    if refused is None and not writing:
        files = f"seccomp: written nowhere; reading is {files}"
    return {"network": _network(refused, confined), "files": files, "memory": memory}


def _limit(name: str, value: int) -> None:
    known = getattr(resource, name, None)
    if known is None:
        return
    _, hard = resource.getrlimit(known)
    most = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(known, (most, most))


def _network(refused: str | None, confined: bool) -> str:
    if refused is None:
        return "seccomp: no sockets"
    if confined and landlock.abi() >= 4:
        return f"landlock: no TCP; others not restricted: {refused}"
    return f"not restricted: {refused}"


def _files(wanted: Wanted) -> str:
    version = landlock.abi()
    if not version:
        return "not restricted: the kernel offers no Landlock"
    try:
        landlock.restrict(_rules(wanted), version)
    except OSError as error:
        return f"not restricted: {error.strerror}"
    what = "the model and Python's search path" if wanted.code else "the model"
    more = " and CUDA devices" if wanted.cuda else ""
    return f"landlock ABI {version}: reads {what}, the Python installation{more}; writes one scratch folder"


def _rules(wanted: Wanted) -> Iterator[landlock.Rule]:
    read = (*SYSTEM, *MACHINE, *DEVICES, *(CUDA_READ if wanted.cuda else ()), *installation())
    yield from ((Path(path), landlock.READ) for path in read)
    yield from ((path, landlock.READ) for path in wanted.reads)
    yield Path("/dev/null"), landlock.USE
    yield wanted.scratch, landlock.WRITE
    if wanted.code:
        yield from ((Path(entry), landlock.READ) for entry in {*sys.path, str(Path.cwd())} if entry)
    if wanted.cuda:
        yield from ((Path("/dev", name), landlock.USE | landlock.READ_DIR) for name in cuda_devices())


def cuda_devices() -> list[str]:
    """Device files below /dev that belong to GPUs; none where there is no GPU."""
    try:
        return sorted(place.name for place in Path("/dev").iterdir() if CUDA_USE.fullmatch(place.name))
    except OSError:
        return []


def installation() -> list[str]:
    """Where Python and the installed packages lie, this one among them."""
    named = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = [sysconfig.get_path(name) for name in named]
    paths += [site.getusersitepackages(), *site.getsitepackages()]
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix}:
        paths += [f"{prefix}/lib", f"{prefix}/lib64", f"{prefix}/pyvenv.cfg"]
    paths += os.environ.get("LD_LIBRARY_PATH", "").split(":")
    paths += [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    return [*dict.fromkeys(path for path in paths if path), str(Path(__file__).parents[2])]


def narrow(wanted: Wanted, reads: Iterable[Path]) -> None:
    """Read, of what was wanted, some files only from now on.

    Raises:
        OSError: the kernel refused.
    """
    version = landlock.abi()
    if version:
        landlock.restrict(_rules(replace(wanted, reads=tuple(reads))), version)


def _memory(wanted: Wanted) -> str:
    """Limit the memory that this process may have of its own, beyond what it has already."""
    if wanted.cuda:
        # The driver reserves far more addresses than it uses.
        return "watched from outside"
    held = status("VmData") if sys.platform == "linux" else None
    if held is None:
        return "not restricted: this system does not count it"
    most = held + wanted.memory_mb * MB
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (min(most, held + wanted.reading_mb * MB), most))
    return "limited by the kernel, and watched from outside"


def read_to_the_end() -> None:
    """From now on the model may have all the memory that it was given."""
    if sys.platform == "linux":
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def status(key: str, pid: int | str = "self") -> int | None:
    """Bytes that the kernel counts for a process under a name such as `VmRSS`; None where it does not tell."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = re.search(rf"^{key}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def handed_down(given: Mapping[str, str]) -> dict[str, str]:
    """The few variables of an environment that a model's process needs; passwords and tokens stay behind."""
    return {name: value for name, value in given.items() if HANDED_DOWN.fullmatch(name)}


HANDED_DOWN = re.compile(
    r"PATH|LANG|LC_\w+|TZ|TMPDIR|LD_LIBRARY_PATH|PYTHONHASHSEED|MALLOC_\w+"
    r"|(OMP|MKL|OPENBLAS|NUMEXPR|KMP|GOMP|BLIS|VECLIB)_\w+|ATEN_CPU_CAPABILITY|DNNL_\w+|ONEDNN_\w+"
    r"|CUDA_\w+|CUBLAS_\w+|CUDNN_\w+|NVIDIA_\w+|PYTORCH_\w+|TORCH_(?!\w*(TOKEN|KEY))\w+"
)
