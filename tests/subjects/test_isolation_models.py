"""Models that crash, hang, grow, lie or look around, each in a process of its own."""

from __future__ import annotations

import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medgan_qa.errors import ConfigurationError, IntegrityError, ModelCrashError, ModelError
from medgan_qa.subjects.isolation import client, landlock
from medgan_qa.subjects.isolation.limits import MEMORY, TIMEOUT
from medgan_qa.subjects.isolation.network import RESTARTS, IsolatedNetwork
from medgan_qa.subjects.isolation.process import Process
from medgan_qa.subjects.load import load_subject
from medgan_qa.subjects.networks import OutOfMemoryError
from medgan_qa.subjects.protocols import Subject

from .conftest import Affine, MakeModel, card_text

X = np.random.Generator(np.random.PCG64(0)).random((3, 1, 8, 8), np.float32)
MakeCode = Callable[..., Subject]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="models' processes are forked")


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeCode:
    """A team's own model from the body of its `forward(x)`; it is kept from pytest's own import path."""
    folder = tmp_path / "code"
    folder.mkdir()
    monkeypatch.chdir(folder)
    made = iter(range(100))

    def make(forward: str, *, at_import: str = "", **how: Any) -> Subject:
        name = f"own_model_{next(made)}"
        body = "\n".join(f"    {line}" for line in forward.splitlines())
        (folder / f"{name}.py").write_text(
            f"import ctypes, os, signal, socket, sys, time, torch\nCALLS = []\n{at_import}\n"
            f"def forward(x):\n    CALLS.append(len(x))\n{body}\n"
            f"def build():\n    return forward\nbuild.card = '''{card_text()}'''\n"
        )
        return load_subject(f"{name}:build", **how)

    return make


def isolated(subject: Subject) -> IsolatedNetwork:
    network: Any = subject.network
    assert isinstance(network.network, IsolatedNetwork)
    return network.network


def process_of(subject: Subject) -> Process:
    process = isolated(subject)._process
    assert process is not None
    return process


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ends(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


# The same numbers, and what the Record says


def test_a_process_of_its_own_changes_no_number(torchscript: MakeModel) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(1, 1, 3, padding=1)
    path = str(torchscript(layer))
    own, here = load_subject(path), load_subject(path, trust=True)
    for images in (X, X[:1], np.zeros((0, 1, 8, 8), np.float32)):
        np.testing.assert_array_equal(own.translate(images, 3), here.translate(images, 3))
    assert (own.card, own.format, own.sha256, own.parameters) == (here.card, here.format, here.sha256, here.parameters)


def test_the_record_says_what_stood_between_model_and_audit(torchscript: MakeModel) -> None:
    facts = load_subject(str(torchscript(Affine()))).as_dict()
    assert facts["trusted"] is False
    assert facts["isolation"]["process"] == "a process of its own"
    assert facts["isolation"]["memory_limit_mb"] >= 256
    if landlock.abi():
        assert facts["isolation"]["files"].startswith("landlock")
    trusted = load_subject(str(torchscript(Affine(), name="b.pt")), trust=True).as_dict()
    assert trusted["trusted"] is True
    assert "--trust" in trusted["isolation"]["process"]


def test_two_loads_say_the_same(torchscript: MakeModel) -> None:
    path = str(torchscript(Affine()))
    assert load_subject(path).as_dict() == load_subject(path).as_dict()


@pytest.mark.parametrize("size", [8, 1024])
def test_images_larger_than_any_before_come_back_whole(code: MakeCode, size: int) -> None:
    model = code("return torch.nn.functional.interpolate(x, scale_factor=4)")
    x = np.random.Generator(np.random.PCG64(1)).random((2, 1, size, size // 2), np.float32)
    for images in (X, x, X):
        y = isolated(model)(images, 0)
        np.testing.assert_array_equal(y, images.repeat(4, axis=2).repeat(4, axis=3))


def test_models_run_beside_each_other_and_from_threads(torchscript: MakeModel) -> None:
    models = [load_subject(str(torchscript(Affine(), name=f"{k}.pt"))) for k in range(3)]
    found: list[bool] = []

    def use(model: Subject) -> None:
        for k in range(5):
            x = X + np.float32(k)
            found.append(bool(np.allclose(model.translate(x), ((x * 2 - 1) * 2 + 1.25) / 2, atol=1e-5)))

    threads = [threading.Thread(target=use, args=(model,)) for model in models * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 30


# Crashes


@pytest.mark.parametrize(
    ("forward", "says"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("ctypes.string_at(0)", "SIGSEGV"),
        ("os.abort()", "SIGABRT"),
        ("os._exit(0)", "an exit of its own"),
    ],
)
def test_a_crash_is_told_with_its_signal(code: MakeCode, forward: str, says: str) -> None:
    model = code(forward)
    with pytest.raises(ModelCrashError, match="crashed") as caught:
        model.translate(X)
    error = caught.value
    assert says in str(error.found)
    assert all((error.expected, error.where, error.todo))
    assert error.exit_code == 3


def test_a_crash_while_the_model_is_opened(code: MakeCode) -> None:
    with pytest.raises(ModelCrashError, match="crashed") as caught:
        code("return x", at_import="os.abort()")
    assert "while its file was read" in str(caught.value.found)
    assert "own_model_0" in str(caught.value.where)


def test_what_a_crashing_model_printed_is_shown_without_control_characters(code: MakeCode) -> None:
    model = code("print('\\x1b[31mred\\x07', flush=True)\nos.write(2, b'second\\xff line\\n')\nos.abort()")
    with pytest.raises(ModelCrashError) as caught:
        model.translate(X)
    assert "[31mred" in str(caught.value.found)
    assert "second" in str(caught.value.found)
    assert re.fullmatch(r"[^\x00-\x1f\x7f-\x9f]*", str(caught.value.found))


def test_what_a_model_prints_goes_nowhere_and_never_blocks_it(
    code: MakeCode, capfd: pytest.CaptureFixture[str]
) -> None:
    model = code("print('patient Doe' * 100_000)\nreturn x")
    model.translate(X)
    del model
    out = capfd.readouterr()
    assert "Doe" not in out.out + out.err


def test_a_model_that_never_answered_is_not_tried_again(code: MakeCode) -> None:
    model = code("os.abort()")
    for _ in range(2):
        with pytest.raises(ModelCrashError, match="crashed"):
            model.translate(X)
    assert isolated(model).crashes == 1


def test_a_model_that_crashes_now_and_then_is_started_again_and_in_the_end_given_up(code: MakeCode) -> None:
    model = code("if float(x.max()) > 5: os.abort()\nreturn x")
    for k in range(RESTARTS + 1):
        np.testing.assert_array_equal(model.translate(X), X)
        with pytest.raises(ModelCrashError):
            model.translate(X * 100)
        assert model.isolation["crashes"] == k + 1
    with pytest.raises(ModelCrashError, match="crashed") as caught:
        model.translate(X)
    assert f"{RESTARTS + 1} times" in str(caught.value.found)


def test_a_file_that_changed_meanwhile_is_not_opened_again(code: MakeCode, tmp_path: Path) -> None:
    model = code("if float(x.max()) > 5: os.abort()\nreturn x")
    model.translate(X)
    with pytest.raises(ModelCrashError):
        model.translate(X * 100)
    place = tmp_path / "code" / "own_model_0.py"
    place.write_text(place.read_text() + "\n# other\n")
    with pytest.raises(IntegrityError, match="changed"):
        model.translate(X)


def test_an_ordinary_error_leaves_the_process_as_it_is(code: MakeCode) -> None:
    model = code("if float(x.max()) > 5: raise ValueError('too \\x1b[1m bright')\nreturn x")
    model.translate(X)
    pid = process_of(model).pid
    with pytest.raises(ModelError, match="raised an error") as caught:
        model.translate(X * 100)
    assert "bright" in str(caught.value.found)
    assert "\x1b" not in str(caught.value.found)
    model.translate(X)
    assert process_of(model).pid == pid


# Time and memory


def test_a_model_that_hangs_is_stopped(code: MakeCode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TIMEOUT, "1.5")
    model = code("time.sleep(60)")
    pid, began = process_of(model).pid, time.monotonic()
    with pytest.raises(ModelCrashError, match="did not answer in time") as caught:
        model.translate(X)
    assert time.monotonic() - began < 20
    assert "1.5 s" in str(caught.value.found)
    assert TIMEOUT in str(caught.value.todo)
    assert ends(lambda: not is_running(pid))


def test_a_model_that_hangs_while_it_is_opened_is_stopped(code: MakeCode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TIMEOUT, "1.5")
    with pytest.raises(ModelCrashError, match="did not answer in time"):
        code("return x", at_import="while True: pass")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts a process's memory")
@pytest.mark.parametrize(
    "forward",
    ["return x + torch.ones(600 << 18).sum()", "kept = bytearray(600 << 20)\nreturn x"],
    ids=["torch", "python"],
)
def test_a_model_that_asks_for_too_much_memory(code: MakeCode, monkeypatch: pytest.MonkeyPatch, forward: str) -> None:
    monkeypatch.setenv(MEMORY, "400")
    model = code(forward)
    with pytest.raises(OutOfMemoryError, match="ran out of memory") as caught:
        model.translate(X)
    assert isinstance(caught.value, ModelCrashError)
    assert MEMORY in str(caught.value.todo)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts a process's memory")
def test_memory_that_the_kernel_does_not_limit_is_watched(code: MakeCode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MEMORY, "256")
    model = code(
        "import mmap\nshared = mmap.mmap(-1, 300 << 20)\nfor _ in range(300): shared.write(bytes(1 << 20))\n"
        "time.sleep(60)"
    )
    with pytest.raises(OutOfMemoryError) as caught:
        model.translate(X[:1])
    assert "256 MB" in str(caught.value.found)


def test_batches_that_do_not_fit_are_halved(code: MakeCode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MEMORY, "400")
    grown = "kept = torch.empty(len(x) * 60 << 18)\nreturn x"
    x = np.random.Generator(np.random.PCG64(2)).random((16, 1, 8, 8), np.float32)
    first, second = code(grown), code(grown)
    np.testing.assert_array_equal(first.translate(x), x)
    np.testing.assert_array_equal(second.translate(x), x)
    assert "4 at once" in first.isolation["batch"]["1 x 8 x 8"]
    assert first.isolation == second.isolation
    assert first.as_dict()["isolation"]["batch"] == first.isolation["batch"]


@pytest.mark.parametrize(("name", "value"), [(TIMEOUT, "soon"), (TIMEOUT, "0"), (MEMORY, "-1"), (MEMORY, "nan")])
def test_a_limit_that_is_none(torchscript: MakeModel, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name) as caught:
        load_subject(str(torchscript(Affine())))
    assert caught.value.found == repr(value)


# What a model sees


def test_a_model_sees_neither_the_environment_nor_the_files_of_its_user(
    code: MakeCode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "very secret")
    (tmp_path / "patient.txt").write_text("Doe")
    model = code(
        f"""
found = []
if 'HF_TOKEN' in os.environ or 'secret' in str(os.environ): found.append('environment')
for what in (lambda: open({str(tmp_path / "patient.txt")!r}).read(), lambda: open('/etc/passwd').read(),
             socket.socket, os.fork, lambda: os.kill(os.getppid(), 0), lambda: open('here', 'w'),
             lambda: os.listdir({str(Path.home())!r})):
    try:
        what()
        found.append(str(what))
    except PermissionError:
        pass
open(os.path.join(os.environ['TMPDIR'], 'scratch'), 'w').write('x')
if found: raise RuntimeError(' '.join(found))
return x
"""
    )
    if not landlock.abi():
        pytest.skip("this kernel offers no Landlock")
    np.testing.assert_array_equal(model.translate(X), X)


def test_libraries_that_a_model_needs_are_there(code: MakeCode) -> None:
    model = code("import sqlite3, torchvision, concurrent.futures\nassert torch.get_num_threads() > 0\nreturn x")
    np.testing.assert_array_equal(model.translate(X), X)


def test_a_scratch_folder_that_is_filled_ends_the_model(code: MakeCode) -> None:
    model = code(
        "for k in range(60):\n"
        "    open(os.path.join(os.environ['TMPDIR'], str(k)), 'wb').truncate(64 << 20)\n"
        "time.sleep(60)"
    )
    with pytest.raises(ModelCrashError, match="scratch folder"):
        model.translate(X)


# Answers that are none, from a process that does not keep to the protocol

LIE = "import struct, json\ndef lie(message):\n"
LIE += "    if isinstance(message, dict): message = {'call': 3, **message}\n"
LIE += "    content = message if isinstance(message, bytes) else json.dumps(message).encode()\n"
LIE += "    for file in range(3, 64):\n        try:\n"
LIE += "            os.write(file, struct.pack('=I', len(content)) + content)\n"
LIE += "        except OSError:\n            pass\n"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("b'not json'", "no JSON"),
        ("[1, 2]", "no JSON object"),
        ("{'shape': [1 << 40]}", "a shape that is none"),
        ("{'shape': [-1, 1]}", "a shape that is none"),
        ("{'shape': 'all'}", "something else than a shape"),
        ("{'shape': [1 << 20, 1 << 20]}", "may come back"),
        ("{'shape': [3, 1, 1024, 1024]}", "bytes of images"),
        ("{}", "something else than a shape"),
    ],
)
def test_an_answer_that_is_none_ends_the_model(code: MakeCode, answer: str, says: str) -> None:
    model = code(f"lie({answer})\ntime.sleep(60)", at_import=LIE)
    with pytest.raises(ModelCrashError, match="no proper answer") as caught:
        model.translate(X)
    assert says in str(caught.value.found)


def test_a_message_that_never_ends_is_not_read(code: MakeCode) -> None:
    model = code("lie(b'{' * (5 << 20))\ntime.sleep(60)", at_import=LIE)
    with pytest.raises(ModelCrashError, match="no proper answer") as caught:
        model.translate(X)
    assert "bytes" in str(caught.value.found)


def test_an_answer_to_an_earlier_question_is_none(code: MakeCode) -> None:
    model = code("lie({'error': 'model', 'problem': 'x'})\ntime.sleep(1)\nreturn x", at_import=LIE)
    with pytest.raises(ModelError, match="x"):
        isolated(model)(X, 0)
    with pytest.raises(ModelCrashError, match="no proper answer") as caught:
        isolated(model)(X, 0)
    # The real answer to the first question and the next lie may arrive together.
    assert re.search("to something else|more than one message", str(caught.value.found))


# Ends


def test_a_model_that_nobody_holds_any_more_ends(torchscript: MakeModel) -> None:
    model = load_subject(str(torchscript(Affine())))
    pid, scratch = process_of(model).pid, process_of(model).scratch
    assert is_running(pid)
    del model
    gc.collect()
    assert ends(lambda: not is_running(pid) and not Path(scratch).exists())


@pytest.fixture
def audit(torchscript: MakeModel, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int, int, Path]]:
    """A process that holds a model; its own id, those of the server and of the model, and the scratch folder."""
    script = f"""
import sys
from medgan_qa.subjects.load import load_subject
model = load_subject({str(torchscript(Affine()))!r})
process = model.network.network._process
print(process.server.process.pid, process.pid, process.scratch, flush=True)
sys.stdin.readline()
"""
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    started = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert started.stdout is not None
    server, model, scratch = started.stdout.readline().split()
    yield started, int(server), int(model), Path(scratch)
    started.kill()
    started.communicate()


def test_nothing_is_left_when_the_audit_ends(audit: tuple[subprocess.Popen[str], int, int, Path]) -> None:
    started, server, model, scratch = audit
    started.communicate("go\n")
    assert started.returncode == 0
    assert ends(lambda: not (is_running(server) or is_running(model) or scratch.parent.exists()))


def test_nothing_is_left_when_the_audit_is_killed(audit: tuple[subprocess.Popen[str], int, int, Path]) -> None:
    started, server, model, scratch = audit
    started.send_signal(signal.SIGKILL)
    started.wait()
    assert ends(lambda: not (is_running(server) or is_running(model) or scratch.parent.exists()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends the children of a killed process")
def test_a_killed_server_takes_its_models_along_and_the_next_one_clears_up(
    audit: tuple[subprocess.Popen[str], int, int, Path],
) -> None:
    _, server, model, scratch = audit
    os.kill(server, signal.SIGKILL)
    assert ends(lambda: not is_running(model))
    assert scratch.exists()
    script = "from medgan_qa.subjects.isolation.server import scratch_root; print(scratch_root())"
    environment = {**os.environ, "TMPDIR": str(scratch.parent.parent)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, stdout=subprocess.DEVNULL)
    assert not scratch.exists()


def test_a_process_that_was_forked_starts_a_server_of_its_own(torchscript: MakeModel) -> None:
    path = str(torchscript(Affine()))
    model = load_subject(path)
    mine = client.server()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        other = client.server()
        os.write(writing, b"another" if other is not mine else b"the same")
        other.process.kill()
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reading, 100) == b"another"
    os.close(reading)
    os.close(writing)
    np.testing.assert_array_equal(model.translate(X).shape, X.shape)
