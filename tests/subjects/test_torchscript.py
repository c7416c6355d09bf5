"""TorchScript: what networks are made of is read; what reaches beyond tensors is refused by name before it runs."""

from __future__ import annotations

import copy
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from medgan_qa.errors import ModelError
from medgan_qa.subjects import torchscript, torchscript_source
from medgan_qa.subjects.formats import reader_of
from medgan_qa.subjects.torchscript import pickle_objection, read_torchscript

X = torch.linspace(0, 1, 2 * 16 * 16).reshape(2, 1, 16, 16)

# Networks of every usual family.


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.pad = nn.ReflectionPad2d(1)
        self.conv = nn.Conv2d(width, width, 3)
        self.norm = nn.InstanceNorm2d(width, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + functional.relu(self.norm(self.conv(self.pad(x))))


class ResnetGenerator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(Block(4), Block(4))
        self.up = nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, output_padding=1)
        self.out = nn.Conv2d(4, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.out(self.up(self.blocks(self.down(x)))))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.LeakyReLU(0.2))
        self.deep = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.SiLU())
        self.last = nn.Conv2d(12, 1, 1)
        self.drop = nn.Dropout2d(0.1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.first(x)
        b = functional.interpolate(self.drop(self.deep(a)), size=a.shape[-2:], mode="bilinear", align_corners=False)
        return torch.sigmoid(self.last(torch.cat([a, b], 1)))


class StyleSampler(nn.Module):
    """Images from a vector, with modulated convolutions and noise."""

    def __init__(self) -> None:
        super().__init__()
        self.mapping = nn.Sequential(nn.Linear(16, 16), nn.LeakyReLU(0.2), nn.Linear(16, 4))
        self.constant = nn.Parameter(torch.ones(1, 4, 8, 8))
        self.weight = nn.Parameter(torch.ones(1, 4, 3, 3) / 9)
        self.register_buffer("kernel", torch.ones(1, 1, 3, 3) / 9)

    def forward(self, z: Tensor) -> Tensor:
        w = self.mapping(z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt())
        x = self.constant * w[:, :, None, None]
        x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        x = x + torch.randn([x.shape[0], 1, x.shape[2], x.shape[3]], device=x.device) * 0.1
        demodulated = self.weight * (self.weight.square().sum([1, 2, 3], keepdim=True) + 1e-8).rsqrt()
        return functional.conv2d(functional.conv2d(x, demodulated, padding=1), self.get_buffer_kernel(), padding=1)

    def get_buffer_kernel(self) -> Tensor:
        return self.kernel


class Rows(nn.Module):
    """An image read row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(16, 16, batch_first=True, bidirectional=True, num_layers=2)
        self.gru = nn.GRU(32, 16, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        rows, _ = self.lstm(x[:, 0])
        return self.gru(rows)[0][:, None]


class Steps(nn.Module):
    """Loops, branches, lists, dictionaries, optional values, assertions, a method of its own and no gradients."""

    def __init__(self, steps: int = 3) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(1, 1, 3, padding=1) for _ in range(steps)])
        self.scale: float = 0.5

    def residual(self, x: Tensor, weights: dict[str, float]) -> Tensor:
        return x * weights["keep"]

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 4:
            raise ValueError(f"images of {x.dim()} axes")
        kept: list[Tensor] = []
        previous: Tensor | None = None
        with torch.no_grad():
            for layer in self.layers:
                y = layer(x)
                if previous is not None:
                    y = y + previous
                previous = y
                kept.append(y)
        total = torch.zeros_like(x)
        k = 0
        while k < len(kept) and float(total.abs().max()) < 100.0:
            total = total + kept[k] * self.scale
            k += 1
        return total + self.residual(x, {"keep": 0.1})


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.mix = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))

    def forward(self, x: Tensor) -> Tensor:
        rows = self.norm(x[:, 0])
        return (rows + self.mix(self.attend(rows, rows, rows)[0]))[:, None]


class Warp(nn.Module):
    """Resampling along a field, spectra, pixel shuffles and the operators of torchvision."""

    def forward(self, x: Tensor) -> Tensor:
        theta = torch.eye(2, 3)[None].repeat(len(x), 1, 1)
        y = functional.grid_sample(x, functional.affine_grid(theta, list(x.shape), False), align_corners=False)
        y = torch.fft.irfft2(torch.fft.rfft2(y))
        boxes = torch.tensor([[0.0, 0.0, 0.0, 8.0, 8.0]])
        pooled = torchvision.ops.roi_align(y, boxes, [4, 4])
        kept = torchvision.ops.nms(boxes[:, 1:], torch.ones(1), 0.5)
        return functional.pixel_shuffle(functional.pixel_unshuffle(y, 2), 2) + pooled.mean() + kept.sum()


NETWORKS: dict[str, tuple[nn.Module, Tensor]] = {
    "resnet generator": (ResnetGenerator(), X),
    "u-net": (UNet(), X),
    "style sampler": (StyleSampler(), torch.ones(2, 16)),
    "recurrent": (Rows(), X),
    "control flow": (Steps(), X),
    "attention": (Attention(), X),
    "warp": (Warp(), X),
}


def saved(module: nn.Module, path: Path, example: Tensor | None = None) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracers and quantisers warn of themselves
        made = torch.jit.script(module.eval())
        if example is not None:
            made = torch.jit.trace(module.eval(), example, check_trace=False)
    made.save(str(path))
    return path


@pytest.mark.parametrize("how", ["traced", "scripted"])
@pytest.mark.parametrize("name", NETWORKS)
def test_reads_a_network_of_every_usual_family(tmp_path: Path, name: str, how: str) -> None:
    module, x = NETWORKS[name]
    path = saved(module, tmp_path / "model.pt", x if how == "traced" else None)
    read = read_torchscript(path, "cpu").module
    with torch.no_grad():
        torch.manual_seed(0)
        expected = module(x)
        torch.manual_seed(0)
        torch.testing.assert_close(read(x), expected)


class Quantised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.take, self.give = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()
        self.conv, self.relu, self.linear = nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.give(self.linear(self.relu(self.conv(self.take(x)))))


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize("how", ["traced", "scripted"])
def test_reads_a_quantised_network(tmp_path: Path, how: str) -> None:
    module = Quantised().eval()
    module.qconfig = torch.ao.quantization.get_default_qconfig("fbgemm")
    torch.ao.quantization.prepare(module, inplace=True)
    module(X)
    torch.ao.quantization.convert(module, inplace=True)
    path = saved(copy.deepcopy(module), tmp_path / "model.pt", X if how == "traced" else None)
    torch.testing.assert_close(read_torchscript(path, "cpu").module(X), module(X))


class LongRows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.linear = nn.LSTM(16, 16), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.lstm(x[:, 0])[0])


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_reads_a_dynamically_quantised_recurrent_network(tmp_path: Path) -> None:
    module = torch.ao.quantization.quantize_dynamic(LongRows(), {nn.LSTM, nn.Linear})
    read = read_torchscript(saved(module, tmp_path / "model.pt"), "cpu").module
    torch.testing.assert_close(read(X), module(X))


class Detector(nn.Module):
    """Has a method with the name of an operator that is not allowed, as torchvision's detectors have."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)

    def resize(self, x: Tensor, factor: int) -> Tensor:
        return x.repeat_interleave(factor, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.resize(self.conv(x), 2)


def test_a_method_may_have_the_name_of_an_operator(tmp_path: Path) -> None:
    assert read_torchscript(saved(Detector(), tmp_path / "model.pt"), "cpu").module(X).shape == (2, 1, 32, 16)


# Files that do more than compute. Each that can is first seen to do it when it is read without care.


class Writer(nn.Module):
    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file

    def forward(self, x: Tensor) -> Tensor:
        torch.save(x, self.file)
        return x


class Spy(nn.Module):
    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.from_file(self.file, False, 4).sum()


def carelessly(path: Path) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.load(str(path))


def refused(path: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        read_torchscript(path, "cpu")
    assert all((caught.value.expected, caught.value.found, caught.value.todo))
    assert caught.value.where == str(path)
    return caught.value


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "written"


def test_a_model_that_writes_a_file(tmp_path: Path, marker: Path) -> None:
    path = saved(Writer(str(marker)), tmp_path / "model.pt")
    error = refused(path)
    assert error.found == "the operator aten::save in the method forward of the model itself"
    assert "uses an operator" in error.problem
    assert not marker.exists()
    carelessly(path)(X)
    assert marker.exists()


def test_a_model_that_reads_a_file(tmp_path: Path, marker: Path) -> None:
    path = saved(nn.Sequential(nn.ReLU(), Spy(str(marker))), tmp_path / "model.pt")
    assert refused(path).found == "the operator aten::from_file in the method forward of the submodule 1"
    marker.write_bytes(torch.full((4,), 7.0).numpy().tobytes())
    torch.testing.assert_close(carelessly(path)(X), X + 28)


class Remembers(nn.Module):
    """Writes a file when it is loaded, before anybody calls it."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file

    def forward(self, x: Tensor) -> Tensor:
        return x

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.file, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        torch.save([1], state[0])
        self.file = state[0]
        self.training = state[1]


class Holder(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.ReLU(), inner)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def test_a_model_that_writes_while_it_is_loaded(tmp_path: Path, marker: Path) -> None:
    path = saved(Holder(Remembers(str(marker))), tmp_path / "model.pt")
    assert refused(path).found == "the operator aten::save in the method __setstate__ of the submodule inner.1"
    assert not marker.exists()
    carelessly(path)
    assert marker.exists()


@torch.jit.script
def keeps(x: Tensor, n: int) -> Tensor:
    for _ in range(n):
        if n > 3:
            torch.save(x, "written")
    return x


@torch.jit.script
class Hidden:
    def __init__(self, n: int) -> None:
        self.n = n

    def go(self, x: Tensor) -> Tensor:
        torch.save(x, "written")
        return x * self.n


@torch.jit.interface
class Any2d(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        pass


class ByFunction(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return keeps(x, 2)


class ByClass(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Hidden(2).go(x)


class ByInterface(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Writer("written")

    def forward(self, x: Tensor) -> Tensor:
        return self.inner.forward(x)


ByInterface.__annotations__ = {"inner": Any2d}  # torch takes no annotation that is a text here


class Unasked(nn.Module):
    """Does it in a method that nobody calls."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    @torch.jit.export
    def later(self, x: Tensor) -> Tensor:
        torch.save(x, "written")
        return x


class Prints(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        print(x)
        return x


class Forks(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.jit.wait(torch.jit.fork(torch.relu, x))


class Grows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clone().resize_([2, 1, 64, 64])


class Seeds(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        torch.manual_seed(1)
        return x


HOSTILE = {
    "in a function": (ByFunction, "aten::save", "the function"),
    "in a class": (ByClass, "aten::save", "Hidden.go"),
    "behind an interface": (ByInterface, "aten::save", "the submodule inner"),
    "in a method of its own": (Unasked, "aten::save", "the method later of the model itself"),
    "print": (Prints, "prim::Print", "the method forward"),
    "fork": (Forks, "prim::fork", "the method forward"),
    "unset memory": (Grows, "aten::resize_", "the method forward"),
    "the generator's state": (Seeds, "aten::manual_seed", "the method forward"),
}


def read_without_source(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelError:
    """Refusals of torch's own graphs, as if the source had said nothing."""
    monkeypatch.setattr(torchscript, "source_objection", lambda sources: None)
    return refused(path)


@pytest.mark.parametrize("case", HOSTILE)
def test_refused_in_torchs_own_graphs(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, operator, where = HOSTILE[case]
    found = str(read_without_source(saved(make(), tmp_path / "model.pt"), monkeypatch).found)
    assert f"the operator {operator} in " in found or operator == "prim::fork"
    assert operator in found
    assert where in found


@pytest.mark.parametrize("case", [c for c in HOSTILE if c not in ("print", "fork")])
def test_refused_in_the_source(tmp_path: Path, case: str) -> None:
    make, operator, where = HOSTILE[case]
    sources = sources_of(saved(make(), tmp_path / "model.pt"))
    found = torchscript_source.source_objection(sources)
    assert found is not None
    assert f"the operator {operator}" in found
    # Source alone does not tell what stands behind an interface.
    assert where.replace("the submodule inner", "Writer.forward") in found


# Source that somebody wrote by hand.


def sources_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if "/code/" in name and name.endswith(".py")]
        return {name.partition("/")[2]: archive.read(name) for name in names}


HEAD = """class Net(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  save : Tensor
  owner : Tensor
  def forward(self: __torch__.Net,
    x: Tensor) -> Tensor:
"""


def objection(*lines: str) -> str | None:
    body = "".join(f"    {line}\n" for line in lines)
    return torchscript_source.source_objection({"code/__torch__.py": (HEAD + body).encode()})


@pytest.mark.parametrize(
    "lines",
    [
        ["return torch.add(x, 1)"],
        ["return (x).add(1)"],
        ["return ops.prim.data(x)"],
        ["y = self.owner", "return torch.add(x, y)"],
        ['y = getattr(self, "0")', "return (y).forward(x, )"],
        ["_0 = __torch__.torch.nn.functional.relu", "return _0(x, )"],
        ['s = "torch.save(x)"', "return x"],
        ["y = unchecked_cast(Tensor, x)", "return torch.mul(y, CONSTANTS.c0)"],
    ],
)
def test_lets_through_what_torch_writes(lines: list[str]) -> None:
    assert objection(*lines) is None


@pytest.mark.parametrize(
    "lines",
    [
        ['torch.save(x, "f")'],
        ['ops.aten.save(x, "f")'],
        ['ops.image.read_file("f")'],
        ['ops.profiler._record_function_enter_new("f")'],
        ["ops.aten"],
        ["ops.aten.save.default"],
        ['(x).save("f")'],
        ['x.save("f")'],
        ['(torch.add(x, 1)).save("f")'],
        ['self.save("f")'],
        ["s = x.save", 's("f")'],
        ["s, t = x.save, 1", 's("f")'],
        ["t = torch", 't.save(x, "f")'],
        ["o = ops", 'o.aten.save(x, "f")'],
        ['getattr(torch, "save")(x, "f")'],
        ['getattr(x, "save")("f")'],
        ['s = getattr(x, "save")', 's("f")'],
        ['n = "save"', 'getattr(x, n)("f")'],
        ['getattr(x, "from_file")'],
        ["y = __torch__.torch.classes.profiler._RecordFunction.__new__(x)"],
        ["y = annotate(__torch__.torch.classes.dist_rpc.WorkerInfo, x)"],
        ['for y in [x]:\n      if True:\n        torch.save(y, "f")'],
        ['def inner():\n      return torch.save(x, "f")'],
        ['y = [torch.save(z, "f") for z in [x]]'],
        ['with x.save("f"):\n      pass'],
        ['return f"{torch.save(x)}"'],
        ["import os"],
        ['y = b"bytes"'],
        ["y = 1 +"],
        ["y = '\\\\\n    torch.save(x)'"],
        ["y = 'é'"],
        ["y = '\t'"],
        ["(" * 300 + ")" * 300],
    ],
)
def test_refuses_what_somebody_wrote_by_hand(lines: list[str]) -> None:
    assert objection(*lines, "return x") is not None


def test_a_method_covers_an_operator_only_on_self() -> None:
    method = "  def save(self: __torch__.Net, name: str) -> Tensor:\n    return self.owner\n"
    for line, allowed in (
        ('(self).save("f", )', True),
        ('(x).save("f", )', False),
        ('self = x\n    (self).save("f", )', False),
        ('def g(self: Tensor):\n      return (self).save("f", )', False),
    ):
        source = f"{HEAD}    y = 1\n    {line}\n    return x\n{method}"
        found = torchscript_source.source_objection({"code/__torch__.py": source.encode()})
        assert (found is None) == allowed, line


def test_source_beyond_all_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchscript_source, "LARGEST_SOURCE", 1 << 20)
    assert "1 MB of source" in str(objection("y = 1" + " + 1" * (1 << 18)))


def rewrite(path: Path, change: Callable[[str, bytes], bytes]) -> Path:
    with zipfile.ZipFile(path) as old:
        content = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, change(name, data))
    return path


def test_source_under_another_name_is_looked_at_too(tmp_path: Path) -> None:
    path = saved(nn.ReLU(), tmp_path / "model.pt")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model/code/__torch__/more.txt", "def f(x: Tensor):\n  return torch.save(x, 'f')\n")
    assert "aten::save" in str(refused(path).found)


@pytest.mark.parametrize("part", ["code", "data.pkl"])
def test_names_in_capitals_are_looked_at_too(tmp_path: Path, marker: Path, part: str) -> None:
    """torch finds members whatever the case of their letters."""
    path = saved(Holder(Remembers(str(marker))), tmp_path / "model.pt")
    with zipfile.ZipFile(path) as old:
        content = {name.replace(f"/{part}", f"/{part.upper()}"): old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    assert reader_of(path)[0] == "TorchScript"
    assert "aten::save in the method __setstate__ of the submodule inner.1" in str(refused(path).found)
    assert not marker.exists()
    carelessly(path)
    assert marker.exists()


# Pickles inside.


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.mkdir, (Path("code-ran"),))


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
@pytest.mark.parametrize("member", ["data.pkl", "constants.pkl"])
def test_a_pickle_that_names_more_than_tensors(tmp_path: Path, protocol: int, member: str) -> None:
    path = saved(nn.Conv2d(1, 1, 1), tmp_path / "model.pt")
    evil = pickle.dumps(Evil(), protocol)
    rewrite(path, lambda name, data: evil if name.endswith(f"/{member}") else data)
    assert "could run code" in refused(path).problem


def test_a_pickle_of_a_foreign_class_of_torch() -> None:
    for name, allowed in (
        ("__torch__\nNet\n", True),
        ("__torch__.torch.classes.quantized\nLinearPackedParamsBase\n", True),
        ("__torch__.torch.classes.profiler\n_RecordFunction\n", False),
        ("torch._utils\n_rebuild_tensor_v2\n", True),
        ("torch.hub\nload\n", False),
        ("os\nsystem\n", False),
    ):
        found = pickle_objection(b"\x80\x02c" + name.encode() + b".")
        assert (found is None) == allowed, name


def test_the_layout_of_old_files_is_refused(tmp_path: Path) -> None:
    path = saved(nn.ReLU(), tmp_path / "model.pt")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model/model.json", "{}")
    assert "torch 1.3" in str(refused(path).found)


def test_the_reader_of_formats_goes_this_way(tmp_path: Path, marker: Path) -> None:
    path = saved(Writer(str(marker)), tmp_path / "model.pt")
    name, reader = reader_of(path)
    assert name == "TorchScript"
    with pytest.raises(ModelError, match="uses an operator"):
        reader(path, "cpu")
