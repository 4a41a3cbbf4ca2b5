"""Imports point one way. The modules are read, not run, so a late import counts as well."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nolr

ROOT = Path(nolr.__file__).parent

# A module may import modules of a lower rank only, or of its own package. A new module needs a
# rank: add it here, as low as it can be.
RANK = {
    "errors": 0,
    "types": 0,
    "quasi_random": 1,
    "files": 1,
    "workers": 1,
    "nodes": 1,
    "palette": 1,
    "backends": 1,
    "checks": 2,
    "data": 3,
    "copies": 3,
    "linear": 3,
    "noise": 3,
    "sampling": 3,
    "activations": 3,
    "initializers": 3,
    "learning_rates": 3,
    "losses": 3,
    "augmentation": 3,
    "coding": 3,
    "optimizers": 4,
    "routes": 4,
    "graphs": 4,
    "reach": 5,
    "context": 5,
    "pathways": 6,
    "layers": 6,
    "network": 7,
    "tails": 8,
    "evaluation": 8,
    "estimation": 9,
    "divergence": 10,
    "training_state": 10,
    "testing": 11,
    "training": 11,
    "environment": 11,
    "destinations": 11,
    "interchange": 11,
    "recipes": 12,
    "run": 13,
    "runs": 14,
    "plots": 14,
    "progress": 14,
    "cli_console": 14,
    "cli_settings": 14,
    "laboratory": 15,
    "cli_data": 15,
    "cli_gradcheck": 15,
    "cli_runs": 15,
    "cli_study": 16,
    "cli": 17,
    "__main__": 18,
}

# Not even though the rank would allow it: layers know neither randomness nor loss.
FORBIDDEN = {"layers": {"noise", "losses", "sampling", "estimation"}}

FILES = sorted(ROOT.rglob("*.py"))
NAMES = [path.relative_to(ROOT).as_posix() for path in FILES]


def unit_of(path):
    """The name in RANK that a file belongs to: its top-level module or package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0]


def imported_modules(source):
    """Full names of everything that a source text imports, wherever in it, and also through
    importlib.import_module("name")."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where an import points: write it out"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = name or (node.func.id if isinstance(node.func, ast.Name) else "")
            if name in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                names.append(node.args[0].value)
    return names


def front_door(source):
    """Attributes taken from `import nolr` itself, which loads them from anywhere."""
    return {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "nolr"
    } - {"__version__", "__file__"}


def units_imported(source):
    """The names in RANK that a source text imports."""
    units = set()
    for name in imported_modules(source):
        parts = name.split(".")
        if parts[0] == "nolr" and len(parts) > 1 and parts[1] != "__version__":
            units.add(parts[1])
    return units


def violations(unit, source):
    """What a source text of a unit imports against the rules, in words."""
    found = [f"{unit} uses nolr.{name}: import it from its own module" for name in
             sorted(front_door(source))]  # fmt: skip
    for other in sorted(units_imported(source)):
        if other not in RANK:
            found.append(f"{unit} imports nolr.{other}, which has no rank: add it to RANK")
        elif other in FORBIDDEN.get(unit, ()):
            found.append(f"{unit} must know nothing of {other}")
        elif other != unit and RANK[other] >= RANK[unit]:
            found.append(f"{unit} (rank {RANK[unit]}) imports {other} (rank {RANK[other]})")
    return found


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_imports_point_down(path):
    unit = unit_of(path)
    if unit == "__init__":
        pytest.skip("nolr/__init__.py may name anything; the test below asks what it loads")
    assert unit in RANK, (
        f"nolr/{path.relative_to(ROOT)} has no rank: add {unit!r} to RANK in {Path(__file__).name}"
    )
    assert not violations(unit, path.read_text())


def test_no_rank_is_for_a_module_that_only_looks_like_one():
    # Ranks of modules still to come are fine, two files of one name are not.
    for unit in RANK:
        assert not ((ROOT / f"{unit}.py").exists() and (ROOT / unit).is_dir()), unit


@pytest.mark.parametrize("path", [p for p in FILES if unit_of(p) == "layers"], ids=str)
def test_layers_do_not_import_each_other(path):
    if path.name == "__init__.py":
        pytest.skip("the package's own list of its families")
    others = [n for n in imported_modules(path.read_text()) if n.startswith("nolr.layers")]
    assert not others


def libraries(path):
    return {name.split(".")[0] for name in imported_modules(path.read_text())}


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_only_one_file_may_import_cupy(path):
    if path == ROOT / "backends" / "cupy.py":
        assert "cupy" in libraries(path)  # else this test looks for the wrong thing
    else:
        assert not libraries(path) & {"cupy", "cupyx"}


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_no_other_framework_is_imported(path):
    # torch lives behind its array-API namespace, which get_backend looks up by name.
    assert not libraries(path) & {"torch", "jax", "tensorflow", "autograd"}


@pytest.mark.parametrize(
    ("unit", "source", "words"),
    [
        ("layers", "from nolr.losses import CrossEntropy", "must know nothing of losses"),
        ("layers", "def f():\n    import nolr.noise", "must know nothing of noise"),
        ("noise", "from nolr.estimation import Joint", "imports estimation"),
        ("noise", "from nolr import sampling", "imports sampling"),
        ("estimation", "from nolr.training import Trainer", "imports training"),
        ("network", "from nolr.secret import x", "no rank"),
        ("network", "import nolr\nnolr.train('digits')", "import it from its own module"),
        ("network", "import importlib\nimportlib.import_module('nolr.cli')", "imports cli"),
    ],
)
def test_the_rules_catch_what_they_should(unit, source, words):
    (found,) = violations(unit, source)
    assert words in found


def test_the_rules_let_pass_what_they_should():
    source = "from nolr.backends import namespace\nfrom nolr.types import Array\nimport numpy"
    assert not violations("layers", source)
    assert not violations("estimation", "from nolr.estimation.stage import StageStep")


HEAVY = (
    "cupy",
    "torch",
    "matplotlib",
    "sklearn",
    "scipy",
    "h5py",
    "rich",
    "click",
    "PIL",
    "platformdirs",
)


@pytest.mark.parametrize("module", ["nolr", "nolr.data"])
def test_import_is_light(module):
    code = f"import {module}, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    assert result.stdout.strip() == "[]"


def test_the_numpy_path_loads_no_other_backend():
    code = (
        "import sys, numpy\n"
        "import nolr.estimation, nolr.layers, nolr.losses, nolr.optimizers\n"
        "from nolr.backends import get_backend, backend_of\n"
        "backend_of(get_backend('numpy').asarray([1.0]))\n"
        "print([m for m in ('cupy', 'torch', 'array_api_strict') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    assert result.stdout.strip() == "[]"
