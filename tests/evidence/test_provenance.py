"""Provenance: packages to the end of their requirements, the commit of this checkout and of no other, no secrets."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

import medgan_qa
from medgan_qa.evidence import provenance
from medgan_qa.evidence.provenance import HIDDEN, command_line, environment
from medgan_qa.record import Record

ROOT = Path(__file__).resolve().parent.parent.parent
KEYS = ["python", "platform", "packages", "commit", "dirty", "hardware", "threads", "determinism"]


def test_a_record_can_hold_it(make_record: Any) -> None:
    found = environment()
    assert [key for key in found if key != "commit_reason"] == KEYS
    record = make_record(environment=found)
    assert Record.from_json(record.to_json()) == record
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["hardware"]["cores"] >= 1
    assert found["hardware"]["memory_gb"] > 0.1
    assert found["hardware"]["cpu"]


def test_nothing_heavy_is_loaded() -> None:
    code = "import json, sys; from medgan_qa.evidence.provenance import environment; environment('cuda')"
    command = [sys.executable, "-c", f"{code}; print(json.dumps([*sys.modules]))"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert not {"torch", "numpy", "pandas"} & set(json.loads(done.stdout))


# Packages


def test_the_installed_packages_are_those_that_run() -> None:
    found = provenance.packages()
    assert {"numpy", "torch", "pydantic"} <= set(found)
    assert found["numpy"] == importlib.metadata.version("numpy")
    # Required by torch and by Jinja2, not by medgan-qa itself.
    assert {"sympy", "MarkupSafe"} <= set(found)
    assert not {"pytest", "ruff", "hypothesis", "medgan-qa"} & set(found)
    assert [*found] == sorted(found, key=canonicalize_name)


def install(folder: Path, name: str, version: str, *requires: str, extras: tuple[str, ...] = ()) -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Provides-Extra: {extra}" for extra in extras] + [f"Requires-Dist: {text}" for text in requires]
    (info / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_requirements_are_followed_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(
        tmp_path,
        "audit-tool",
        "1.0",
        "Direct.One>=1",
        "not-there>=2",
        "wants-extra[fast]",
        'windows-only; sys_platform == "win32"',
        'optional; extra == "more"',
        'optional-missing; extra == "more"',
        'for-tests; extra == "dev"',
        'audit-tool[more]; extra == "dev"',
        "no requirement ((",
        extras=("more", "dev"),
    )
    install(tmp_path, "direct-one", "1.1", "ring-a")
    install(tmp_path, "ring-a", "2.0", "ring-b")
    install(tmp_path, "ring-b", "3.0", "ring-a", "audit-tool")
    by_extra = ('speed; extra == "fast"', 'slow; extra == "other"')
    install(tmp_path, "wants-extra", "4.0", *by_extra, extras=("fast", "other"))
    for name in ("speed", "slow", "windows-only", "optional", "for-tests", "unrelated"):
        install(tmp_path, name, "0.1")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(provenance, "NAME", "audit-tool")
    assert provenance.packages() == {
        "direct-one": "1.1",
        "optional": "0.1",
        "ring-a": "2.0",
        "ring-b": "3.0",
        "speed": "0.1",
        "wants-extra": "4.0",
    }


def test_no_packages_are_made_up_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "NAME", "no-such-distribution")
    assert provenance.packages() == {}


# The commit

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *who, "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the package be imported from `folder`."""
    (folder / "medgan_qa").mkdir(parents=True)
    (folder / "medgan_qa" / "__init__.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(medgan_qa, "__file__", str(folder / "medgan_qa" / "__init__.py"))
    return folder


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of the project, with one commit."""
    root = package(tmp_path / "own checkout", monkeypatch)
    (root / "pyproject.toml").write_text('[project]\nname = "medgan-qa"\n', encoding="utf-8")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "one")
    return root


@needs_git
def test_the_commit_of_the_checkout(own: Path) -> None:
    commit = git(own, "rev-parse", "HEAD")
    assert provenance.checkout() == {"commit": commit, "dirty": False}
    (own / "medgan_qa" / "__init__.py").write_text("changed = 1\n", encoding="utf-8")
    assert provenance.checkout() == {"commit": commit, "dirty": True}
    git(own, "commit", "-qam", "two")
    assert provenance.checkout() == {"commit": git(own, "rev-parse", "HEAD"), "dirty": False}
    (own / "medgan_qa" / "new.py").write_text("", encoding="utf-8")
    assert provenance.checkout()["dirty"] is True


@needs_git
def test_a_worktree_is_a_checkout(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(own, "worktree", "add", "-q", str(tmp_path / "tree"))
    monkeypatch.setattr(medgan_qa, "__file__", str(tmp_path / "tree" / "medgan_qa" / "__init__.py"))
    assert provenance.checkout() == {"commit": git(own, "rev-parse", "HEAD"), "dirty": False}


@needs_git
def test_variables_of_a_hook_do_not_lead_elsewhere(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    git(other, "commit", "-q", "--allow-empty", "-m", "other")
    commit = git(own, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert provenance.checkout()["commit"] == commit


@needs_git
@pytest.mark.parametrize("place", [".venv/lib/python3.11/site-packages", "vendored", "."])
def test_a_repository_around_the_package_is_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    study = tmp_path / "study"
    study.mkdir()
    (study / "pyproject.toml").write_text('[project]\nname = "study"\n', encoding="utf-8")
    git(study, "init", "-q")
    package(study / place, monkeypatch)
    git(study, "add", ".")
    git(study, "commit", "-qm", "a study that carries a copy")
    assert provenance.checkout() == {
        "commit": None,
        "dirty": None,
        "commit_reason": "installed from a package, not from a checkout",
    }


@needs_git
def test_a_package_that_is_not_under_version_control(own: Path) -> None:
    git(own, "rm", "-q", "--cached", "medgan_qa/__init__.py")
    assert provenance.checkout()["commit_reason"] == "the package is not under version control"


@needs_git
def test_a_repository_without_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = package(tmp_path / "new", monkeypatch)
    (root / "pyproject.toml").write_text('[project]\nname = "medgan-qa"\n', encoding="utf-8")
    git(root, "init", "-q")
    git(root, "add", ".")
    found = provenance.checkout()
    assert found["commit"] is None
    assert found["commit_reason"].startswith("git: fatal:")


@needs_git
def test_git_that_is_missing_or_does_not_answer(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    assert provenance.checkout() == {"commit": None, "dirty": None, "commit_reason": "git is not installed"}
    (programs / "git").write_text("#!/bin/sh\nexec /bin/sleep 20\n", encoding="utf-8")
    (programs / "git").chmod(0o755)
    monkeypatch.setattr(provenance, "GIT_TIMEOUT_S", 0.1)
    assert provenance.checkout()["commit_reason"] == "git did not answer within 0.1 s"
    (programs / "git").chmod(0o644)
    found = provenance.checkout()
    assert found["commit"] is None
    assert found["commit_reason"]


@pytest.mark.parametrize("text", ["", "project = 1", "[project", "[project]\nname = 5"])
def test_a_project_file_of_another_kind_is_no_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    root = package(tmp_path / "odd", monkeypatch)
    (root / ".git").mkdir()
    (root / "pyproject.toml").write_text(text, encoding="utf-8")
    assert provenance.checkout()["commit_reason"] == "installed from a package, not from a checkout"


# Machine and settings


def a_torch() -> Any:
    """What is read of torch, with settings that are not its defaults."""
    torch: Any = ModuleType("torch")
    torch.get_num_threads, torch.get_num_interop_threads = (lambda: 3), (lambda: 5)
    torch.are_deterministic_algorithms_enabled, torch.get_float32_matmul_precision = (lambda: True), (lambda: "high")
    torch.backends = SimpleNamespace(cudnn=SimpleNamespace(deterministic=True, benchmark=False))
    torch.cuda = SimpleNamespace(
        is_available=lambda: True, device_count=lambda: 2, get_device_name=lambda index: f"GPU {index}"
    )
    return torch


def test_settings_of_torch_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", a_torch())
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    found = environment("cuda:1")
    assert found["threads"] | {"torch": 3, "torch_interop": 5, "OMP_NUM_THREADS": "2"} == found["threads"]
    assert (
        found["determinism"]
        | {
            "deterministic_algorithms": True,
            "cudnn_deterministic": True,
            "cudnn_benchmark": False,
            "float32_matmul_precision": "high",
            "PYTHONHASHSEED": "0",
        }
        == found["determinism"]
    )
    assert found["hardware"]["accelerators"] == ["GPU 0", "GPU 1"]
    assert environment("cpu")["hardware"]["accelerators"] == []
    assert environment("mps")["hardware"]["accelerators"] == ["mps"]


def test_settings_of_torch_where_it_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    found = environment("cuda")
    assert found["threads"]["torch"] is None
    assert found["threads"]["OMP_NUM_THREADS"] is None
    assert found["determinism"]["deterministic_algorithms"] is None
    assert found["hardware"]["accelerators"] == []


def test_a_system_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr(provenance.os, "sysconf", lambda _: (_ for _ in ()).throw(ValueError("unknown")))
    found = provenance.hardware("cpu")
    assert found["cpu"]
    assert found["memory_gb"] is None


# The command without secrets


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        (["--password", "x1", "--out", "d"], ["--password", "***", "--out", "d"]),
        (["--key-password=x1=y"], ["--key-password=***"]),
        (["--passphrase", "--strange"], ["--passphrase", "***"]),
        (["--HF_TOKEN=x1"], ["--HF_TOKEN=***"]),
        (["apiKey=x1", "AWS_SECRET_ACCESS_KEY=x1"], ["apiKey=***", "AWS_SECRET_ACCESS_KEY=***"]),
        (["--set", "db.password=x1"], ["--set", "db.password=***"]),
        (["--set=db.password=x1"], ["--set=db.password=***"]),
        (["--data", "https://u:x1@h.org:80/a?b=1&token=x1"], ["--data", "https://h.org:80/a?b=1&token=***"]),
        (["--proxy=http://u:x@1@h.org/"], ["--proxy=http://h.org/"]),
        (["--key", "approver.pem", "--key=approver.pem"], ["--key", "approver.pem", "--key=approver.pem"]),
        (["secret-plans.toml", "--seed", "7", "a=b=c"], ["secret-plans.toml", "--seed", "7", "a=b=c"]),
        (["/home/ada/m.pt", "--data=../Doe, John/set/", "--out", "a/b"], ["m.pt", "--data=set", "--out", "b"]),
        (["C:\\Doe\\m.pt", "file:///data/doe/m.pt", ".", "/"], ["m.pt", "m.pt", ".", "/"]),
        (["--allow", "data=T1/T2, 3 cases", "--reason=a/b"], ["--allow", "data=T1/T2, 3 cases", "--reason=a/b"]),
        (["control:faithful", "reference:pix2pix-balanced", "net.unet:build"],) * 2,
        (["https://h.org/a@b", "me@h.org"], ["https://h.org/a@b", "me@h.org"]),
        (["--token"], ["--token"]),
        ([], []),
    ],
)
def test_a_command_is_shown_without_its_secrets(given_: list[str], shown: list[str]) -> None:
    assert command_line(given_) == shown


names = st.sampled_from(["password", "key-password", "Passphrase", "CLIENT_SECRET", "token", "api-key", "credentials"])
harmless = st.text(st.characters(categories=["L", "N", "Zs"]), max_size=8).map(lambda text: f"<{text}>")
anything = st.text(max_size=20)


@given(st.lists(harmless, max_size=4), names, anything, st.booleans(), st.lists(harmless, max_size=4))
def test_prop_no_secret_is_shown(before: list[str], name: str, secret: str, joined: bool, after: list[str]) -> None:
    marked = f"\N{SNOWMAN}{secret}\N{SNOWMAN}"
    option = [f"--{name}={marked}"] if joined else [f"--{name}", marked]
    shown = command_line([*before, *option, *after])
    assert not any("\N{SNOWMAN}" in argument for argument in shown)
    assert shown == [*before, *([f"--{name}={HIDDEN}"] if joined else [f"--{name}", HIDDEN]), *after]


@given(st.text(st.characters(exclude_characters="/?#", exclude_categories=["Z", "C"]), min_size=1), st.booleans())
def test_prop_a_url_loses_its_user(userinfo: str, joined: bool) -> None:
    shown = command_line([f"{'--data=' if joined else ''}https://{userinfo}@host.org/path"])
    assert shown in (["--data=https://host.org/path"], ["https://host.org/path"], ["--data=https://***"])


@pytest.mark.parametrize("name", ["DOE^JOHN", "Doe, John", "1234567", "scan-20240131"])
@pytest.mark.parametrize("folder", ["", "runs/"])
def test_a_file_that_is_named_after_a_patient_gets_a_pseudonym(name: str, folder: str) -> None:
    [shown] = command_line([f"{folder}{name}.toml"])
    assert re.fullmatch(r"F-[0-9a-f]{8}\.toml", shown)
    assert command_line([f"{folder}{name}.toml"]) == [shown]


@given(st.lists(st.text(st.characters(exclude_characters="/\\"), max_size=20)))
def test_prop_the_rest_is_shown_as_it_is(arguments: list[str]) -> None:
    plain = [a for a in arguments if not provenance._is_secret(a)]
    assert command_line(plain) == plain


@given(st.binary(max_size=20).map(lambda raw: raw.replace(b"\0", b"").decode("utf-8", "surrogateescape")))
def test_prop_names_that_are_no_utf8_can_be_stored(argument: str) -> None:
    [shown] = command_line([argument])
    assert json.loads(json.dumps(shown, ensure_ascii=False).encode()) == shown
