"""The direction of imports (docs/concepts/design.md), read from syntax trees so that no import hides in a function."""

from __future__ import annotations

import ast
import graphlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
ITSELF = "medgan_qa/__init__.py"

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({ITSELF}),
    frozenset({"errors", "rng", "record", "digests", "quantities", "new_file", "key_folder"}),
    frozenset({"stats", "metrics", "criteria"}),
    frozenset({"engines", "cohorts", "subjects", "features"}),
    frozenset({"audits", "controls"}),
    frozenset({"suites", "runner"}),
    frozenset({"evidence", "report"}),
    frozenset({"cli", "__main__"}),
)
RANK = {unit: rank for rank, layer in enumerate(LAYERS) for unit in layer}

METRICS_USE = {"numpy", "scipy", "skimage"}
FILE_MODULES = {"io", "os", "pathlib", "shutil", "tempfile"}
TEMPLATES_USED_BY = {"report", "cli"}

# A string that is nothing but such a name is how import_module, importlib.resources and lazy tables of commands import.
NAME_IN_STRING = re.compile(r"(medgan_qa|reference_models|report_templates)(\.\w+)*\.?")


class Import(NamedTuple):
    where: str
    unit: str  # the module or package directly below medgan_qa that imports
    target: str  # absolute dotted name, down to the imported name


def names_imported(node: ast.AST, package: str) -> Iterator[str]:
    """Absolute names that one node of a module in `package` imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = absolute("." * node.level + (node.module or ""), package)
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME_IN_STRING.fullmatch(node.value):
        yield node.value.rstrip(".")
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
        name = node.args[0]
        if isinstance(name, ast.Constant) and str(name.value).startswith("."):
            yield absolute(str(name.value), package)


def absolute(name: str, package: str) -> str:
    level = len(name) - len(name.lstrip("."))
    if level == 0:
        return name
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], name[level:]]).rstrip(".")


def unit_of(target: str) -> str:
    """`medgan_qa.stats.intervals` belongs to `stats`; `medgan_qa.__version__` to the package itself."""
    parts = target.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in RANK else ITSELF


def units(root: Path) -> Iterator[tuple[Path, str]]:
    """Every module of medgan_qa, and the unit that it belongs to."""
    for path in sorted((root / "medgan_qa").rglob("*.py")):
        inside = path.relative_to(root / "medgan_qa").with_suffix("").parts
        yield path, ITSELF if inside == ("__init__",) else inside[0]


def imports(root: Path) -> list[Import]:
    found = []
    for path, unit in units(root):
        file = path.relative_to(root)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            for target in names_imported(node, ".".join(file.parts[:-1])):
                found.append(Import(f"{file.as_posix()}:{getattr(node, 'lineno', 0)}", unit, target))
    return found


def objection(unit: str, target: str) -> str | None:
    """Why `unit` may not import `target`; None where it may."""
    top = target.split(".")[0]
    if top == "reference_models":
        return "reference models reach the toolkit through an entry point"
    if top == "report_templates" and unit not in TEMPLATES_USED_BY:
        return "templates are for the report"
    if unit == "metrics" and top in FILE_MODULES:
        return "metrics know nothing of files"
    if unit == "metrics" and top not in METRICS_USE | {"medgan_qa"} | sys.stdlib_module_names:
        return f"metrics use {', '.join(sorted(METRICS_USE))} and nothing else"
    if top == "medgan_qa" and RANK[unit_of(target)] > RANK[unit]:
        return "imports run one way"
    if unit == "report" and top == "medgan_qa" and unit_of(target) in {"stats", "metrics"}:
        return "the report computes no statistic"
    return None


def cycle(found: list[Import]) -> list[str]:
    """Units that import each other in a ring, the first one repeated at the end; empty where there is no ring."""
    graph: dict[str, set[str]] = {}
    for _, unit, target in found:
        if target.split(".")[0] == "medgan_qa" and unit_of(target) not in (unit, ITSELF):
            graph.setdefault(unit, set()).add(unit_of(target))
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def violations(root: Path) -> list[str]:
    if strays := sorted({unit for _, unit in units(root)} - RANK.keys()):
        return [f"{unit} has no place in LAYERS" for unit in strays]
    found = imports(root)
    lines = []
    for where, unit, target in found:
        if why := objection(unit, target):
            lines.append(f"{where}: {unit} imports {target}: {why}")
    if ring := cycle(found):
        lines.append(f"ring: {' <- '.join(ring)}")
    return lines


def tree(root: Path, files: dict[str, str]) -> Path:
    """A made-up medgan_qa below `root`."""
    for name, source in files.items():
        path = root / "medgan_qa" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return root


def test_imports_of_the_package_run_one_way() -> None:
    assert violations(ROOT) == []


def test_the_walk_sees_the_package() -> None:
    seen = {(unit, target.split(".")[0]) for _, unit, target in imports(ROOT)}
    assert {("errors", "pathlib"), ("rng", "numpy"), ("record", "pydantic")} <= seen


@pytest.mark.parametrize(
    ("file", "source", "why"),
    [
        ("errors.py", "import medgan_qa.record\nimport medgan_qa.stats", "imports run one way"),
        ("stats/intervals.py", "from medgan_qa.cohorts import Cohort", "imports run one way"),
        ("stats/intervals.py", "from medgan_qa import runner", "imports run one way"),
        ("stats/deep/er.py", "from ...cohorts import Cohort", "imports run one way"),
        ("criteria.py", "from . import audits", "imports run one way"),
        ("features/store.py", "def f():\n    from medgan_qa.runner import run", "imports run one way"),
        ("cohorts/__init__.py", "from ..audits import table", "imports run one way"),
        (
            "engines/local.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from medgan_qa.suites import Suite",
            "imports run one way",
        ),
        ("audits/a.py", "from medgan_qa.report import svg", "imports run one way"),
        ("audits/a.py", "import importlib\nimportlib.import_module('medgan_qa.report')", "imports run one way"),
        ("audits/a.py", "from importlib import import_module\nimport_module('..report', __package__)", "one way"),
        ("audits/a.py", "import_module(f'medgan_qa.report.{name}')", "imports run one way"),
        ("runner.py", "LAZY = {'audit': 'medgan_qa.cli.audit'}", "imports run one way"),
        ("__init__.py", "from medgan_qa.errors import MedganQAError", "imports run one way"),
        ("metrics/fid.py", "import torch.nn as nn", "metrics use numpy, scipy, skimage and nothing else"),
        ("metrics/fid.py", "def f():\n    from torch import nn", "metrics use numpy, scipy, skimage and nothing else"),
        ("metrics/fid.py", "import nibabel", "metrics use numpy, scipy, skimage and nothing else"),
        ("metrics/fid.py", "from pathlib import Path", "metrics know nothing of files"),
        ("metrics/fid.py", "from medgan_qa.subjects import load", "imports run one way"),
        ("report/figures.py", "from medgan_qa.stats.intervals import wilson", "the report computes no statistic"),
        ("report/figures.py", "from .. import metrics", "the report computes no statistic"),
        ("cli/train.py", "from reference_models import recipes", "through an entry point"),
        ("cli/train.py", "import_module('reference_models.recipes')", "through an entry point"),
        ("evidence/lock.py", "from importlib.resources import files\nfiles('report_templates')", "templates are for"),
        ("runner.py", "import report_templates.fonts", "templates are for the report"),
    ],
)
def test_flags_a_forbidden_import(tmp_path: Path, file: str, source: str, why: str) -> None:
    [line] = violations(tree(tmp_path, {file: source}))
    last = len(source.splitlines())
    assert line.startswith(f"medgan_qa/{file}:{last}: ")
    assert why in line


def test_flags_a_ring_within_a_layer(tmp_path: Path) -> None:
    files = {
        "stats/a.py": "from medgan_qa.criteria import judge",
        "criteria.py": "from medgan_qa.metrics import ssim",
        "metrics/b.py": "from medgan_qa.stats import a",
    }
    [line] = violations(tree(tmp_path, files))
    assert line.startswith("ring: ")
    assert {"stats", "criteria", "metrics"} <= set(re.findall(r"\w+", line))


@pytest.mark.parametrize("file", ["helpers.py", "utils/__init__.py"])
def test_flags_a_unit_without_a_place(tmp_path: Path, file: str) -> None:
    assert violations(tree(tmp_path, {file: ""})) == [
        f"{Path(file).parts[0].removesuffix('.py')} has no place in LAYERS"
    ]


def test_passes_what_the_design_allows(tmp_path: Path) -> None:
    files = {
        "__init__.py": "__version__ = '0'",
        "record.py": "from medgan_qa.errors import RecordError\nfrom medgan_qa import __version__",
        "stats/__init__.py": "from .intervals import wilson",
        "stats/intervals.py": "import scipy.stats\nfrom ..rng import child",
        "metrics/ssim.py": "import math\nimport numpy as np\nfrom skimage.metrics import structural_similarity",
        "criteria.py": "from medgan_qa.stats import wilson\nfrom medgan_qa.record import Criterion",
        "subjects/load.py": "from importlib import metadata\nmetadata.entry_points(group='medgan_qa.weights')",
        "audits/pathology.py": "'''Nothing of medgan_qa.report here.'''\nfrom medgan_qa import metrics, stats",
        "report/html.py": "from importlib.resources import files\nfiles('report_templates')",
        "cli/__init__.py": "LAZY = {'audit': 'medgan_qa.cli.audit'}\ndef f():\n    from medgan_qa.runner import run",
    }
    assert violations(tree(tmp_path, files)) == []


HEAVY = {"torch", "torchvision", "numpy", "scipy", "pandas", "pydantic", "weasyprint"}
HELP = """
import medgan_qa.cli
try:
    medgan_qa.cli.main()
except SystemExit as end:
    assert not end.code, end.code
"""


def heavy_modules_after(code: str) -> set[str]:
    """What of HEAVY a fresh interpreter has loaded once `code` has run as `medgan-qa --help`."""
    script = f"{code}\nimport json, sys\nprint(json.dumps([*sys.modules]), file=sys.stderr)"
    command = [sys.executable, "-c", script, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return HEAVY & set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("code", ["import medgan_qa.cli", HELP], ids=["import", "help"])
def test_the_command_line_starts_without_heavy_libraries(code: str) -> None:
    assert heavy_modules_after(code) == set()


def test_finds_a_heavy_library_that_was_loaded() -> None:
    assert "numpy" in heavy_modules_after("import medgan_qa.rng")
