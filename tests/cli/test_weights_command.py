"""`medgan-qa weights`: status, import, fetch, and their exit codes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from medgan_qa.cli.weights_command import command
from medgan_qa.errors import ConfigurationError, IntegrityError, MissingDependencyError
from medgan_qa.features import weights as table
from medgan_qa.features.weights import FOLDER_VARIABLE, Weights

CONTENT = b"tensors"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def managed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A managed folder without files; `net` is known and offered by an address on this machine."""
    (tmp_path / "offered").write_bytes(CONTENT)
    known = Weights("net", "net.pth", DIGEST, 0.1, (tmp_path / "offered").as_uri(), "CC0-1.0")
    monkeypatch.setitem(table.STANDARD, "net", known)
    monkeypatch.setattr(table, "_in_package", lambda wanted: None)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "managed"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "managed"


def run(*arguments: str) -> int:
    code = command.main(list(arguments), standalone_mode=False)
    assert isinstance(code, int)
    return code


def rows(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)}


def test_status_of_a_machine_without_weights(managed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status") == 0
    out = capsys.readouterr().out
    for name in ("inception", "lpips-alexnet", "efficientnet-lite0", "net"):
        assert any(line.split()[0] == name and "missing" in line for line in out.splitlines() if line)
    assert "torchvision:" not in out
    assert str(managed) in out
    assert "medgan-qa weights fetch NAME" in out


def test_status_tells_right_files_from_wrong_ones(managed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("fetch", "net")
    capsys.readouterr()
    assert run("status", "--json") == 0
    found = rows(capsys)["net"]
    assert (found["digest"], found["sha256"], found["path"]) == ("matches", DIGEST, str(managed / "net.pth"))
    (managed / "net.pth").write_bytes(b"other")
    assert run("status", "--json") == 4
    assert rows(capsys)["net"]["digest"] == "differs"
    assert run("status") == 4
    assert "differs" in capsys.readouterr().out


def test_status_shows_networks_of_torchvision_that_are_here(managed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    managed.mkdir()
    (managed / "resnet18-f37072fd.pth").write_bytes(b"not it")
    assert run("status", "--json") == 4
    assert rows(capsys)["torchvision:resnet18"]["digest"] == "differs"
    assert run("status", "--all", "--json") == 4
    assert len(rows(capsys)) >= 80


def test_fetch_brings_the_file_and_says_where(managed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fetch", "net") == 0
    out = capsys.readouterr().out
    assert str(managed / "net.pth") in out
    assert DIGEST in out
    assert "CC0-1.0" in out
    assert (managed / "net.pth").read_bytes() == CONTENT


def test_fetch_does_not_fetch_twice(managed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("fetch", "net")
    (tmp_path / "offered").unlink()
    capsys.readouterr()
    assert run("fetch", "net") == 0
    assert "Already here" in capsys.readouterr().err


def test_fetch_replaces_a_damaged_file(managed: Path) -> None:
    managed.mkdir()
    (managed / "net.pth").write_bytes(b"half")
    assert run("fetch", "net") == 0
    assert (managed / "net.pth").read_bytes() == CONTENT


def test_fetch_without_an_answer_points_to_import(tmp_path: Path) -> None:
    (tmp_path / "offered").unlink()
    with pytest.raises(MissingDependencyError, match=r"medgan-qa weights import net\.pth") as caught:
        run("fetch", "net")
    assert caught.value.exit_code == 2


def test_fetch_of_an_unknown_name_ends_with_2() -> None:
    with pytest.raises(ConfigurationError, match="no known weights"):
        run("fetch", "nothing")


def test_import_brings_a_file(managed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", str(tmp_path / "offered")) == 0
    assert f"net: {managed / 'net.pth'}" in capsys.readouterr().out


def test_import_of_a_wrong_file_ends_with_4(managed: Path, tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(b"other")
    with pytest.raises(IntegrityError) as caught:
        run("import", str(tmp_path / "net.pth"))
    assert caught.value.exit_code == 4
    with pytest.raises(IntegrityError, match="weights of inception"):
        run("import", str(tmp_path / "offered"), "--name", "inception")
    assert not managed.exists()


@pytest.mark.parametrize("arguments", [[], ["status"], ["import"], ["fetch"]])
def test_every_command_has_help(arguments: list[str]) -> None:
    done = CliRunner().invoke(command, [*arguments, "--help"])
    assert done.exit_code == 0
    assert "--debug" in done.output


def test_the_table_shows_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    run("status", "--json")
    expected = {f.name for f in dataclasses.fields(Weights)} - {"sha256", "package"}
    assert expected | {"expected_sha256", "digest", "path", "sha256"} == set(rows(capsys)["net"])
