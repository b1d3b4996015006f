"""The house itself: who imports whom, what is packed, what the README promises, and rules that every file keeps."""

import ast
import os
import re
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest

from pliant.app.table import capability_markdown
from pliant.envs.registry import task_names

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("optim", "sim", "learn", "envs", "app")
"""From the bottom to the top: each may import those before it."""
OVER_ALL = ("validation", "benchmarks")
"""They may import every layer, and only the command line may import them."""
FOR_ALL = ("errors", "storage", "__version__")
OUTSIDE = ("tests", "examples", "docs")
LONGEST = 450
NOT_OURS = {"__pycache__", "build", "dist", "runs", "pliant.egg-info"}


@lru_cache(maxsize=1)
def files():
    """Every file of the tree that a clone would have, relative to the root."""
    found = []
    for folder, names, entries in os.walk(ROOT):
        names[:] = sorted(name for name in names if name not in NOT_OURS and (name == ".ci" or not name.startswith(".")))
        found += [(Path(folder) / entry).relative_to(ROOT) for entry in sorted(entries)]
    return found


def modules():
    """The Python files of the package."""
    return [path for path in files() if path.suffix == ".py" and path.parts[0] not in OUTSIDE]


def tree(path):
    return ast.parse((ROOT / path).read_text("utf-8"))


def dotted(path):
    """The name of a module within the package: sim.mpm.solver, or "" for the root."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path):
    """The modules of the package that a file imports or names in a string, relative to the root."""
    package = dotted(path).split(".") if path.name == "__init__.py" else dotted(path).split(".")[:-1]
    package = [part for part in package if part]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from (".".join([*base, name]) for name in names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pliant":
            yield node.module.partition(".")[2] or node.names[0].name
        elif isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[2] for alias in node.names if alias.name.split(".")[0] == "pliant")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            match = re.fullmatch(r"pliant\.([\w.]+)(:\w+)?", node.value)
            if match:
                yield match[1]


def may_import(importer, name):
    """Whether a file of the layer `importer` may import one of the layer `name`."""
    if importer in ("__init__", "__main__") or name in FOR_ALL or importer == name:
        return True
    if importer in FOR_ALL or name not in (*LAYERS, *OVER_ALL, "assets"):
        return False
    if importer in OVER_ALL:
        return name not in OVER_ALL
    if name == "assets":
        return importer in LAYERS
    if name in OVER_ALL:
        return importer == "app"
    return importer in LAYERS and LAYERS.index(name) < LAYERS.index(importer)


def test_imports_never_point_upwards():
    wrong = []
    for path in modules():
        importer = path.parts[0] if len(path.parts) > 1 else path.stem
        wrong += [f"{path} imports {name}" for name in imported(path) if not may_import(importer, name.split(".")[0])]
    assert not wrong, wrong


def test_the_rule_on_imports_knows_the_directions():
    allowed = [("sim", "optim"), ("envs", "sim"), ("app", "validation"), ("validation", "app"), ("optim", "errors"), ("learn", "sim")]
    refused = [("optim", "sim"), ("sim", "envs"), ("sim", "learn"), ("envs", "app"), ("sim", "benchmarks"), ("errors", "sim")]
    assert all(may_import(*pair) for pair in allowed)
    assert not any(may_import(*pair) for pair in refused)


def test_every_package_on_disk_is_packed():
    on_disk = {".".join(["pliant", *path.parent.parts]) for path in modules() if path.name == "__init__.py"}
    listed = re.search(r"^packages = \[(.*?)\]", (ROOT / "pyproject.toml").read_text("utf-8"), re.S | re.M)[1]
    assert sorted(re.findall(r'"([\w.]+)"', listed)) == sorted(on_disk)
    assert {path.parent for path in modules()} == {Path(*name.split(".")[1:]) for name in on_disk}


def test_every_public_name_says_what_it_is():
    silent = []
    for path in modules():
        module = tree(path)
        silent += [] if ast.get_docstring(module) or not module.body else [str(path)]
        scopes = [(module, "")]
        while scopes:
            scope, prefix = scopes.pop()
            for node in scope.body:
                if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                    continue
                if any(isinstance(decorator, ast.Name) and decorator.id == "override" for decorator in node.decorator_list):
                    continue  # what it does is said where it is declared
                if not ast.get_docstring(node):
                    silent.append(f"{path}: {prefix}{node.name}")
                if isinstance(node, ast.ClassDef):
                    scopes.append((node, f"{prefix}{node.name}."))
    assert not silent, silent


def test_no_module_is_long():
    long = {str(path): lines for path in modules() if (lines := len((ROOT / path).read_text("utf-8").splitlines())) > LONGEST}
    assert not long, long


def test_only_the_runtime_starts_taichi():
    starters = []
    for path in files():
        if path.suffix == ".py" and path != Path("sim/runtime.py"):
            for node in ast.walk(tree(path)):
                if isinstance(node, ast.Attribute) and ast.unparse(node) in ("ti.init", "taichi.init"):
                    starters.append(f"{path}:{node.lineno}")
    assert not starters, starters


def test_nothing_in_the_tree_is_of_one_machine():
    """No folder of a user, no package registry: a clone works wherever it lies and whatever mirror pip was told to use."""
    folders = r"(?<![\w.<>~-])/(?:home|root|work|Users|mnt|srv)/\w|[A-Z]:\\\\?Users"
    machine = re.compile(rf"{folders}|\b(?:pypi|pythonhosted|anaconda)\.org|download\.pytorch|index-url")
    found = []
    for path in files():
        if path.suffix in (".py", ".md", ".toml", ".yaml", ".json", ".obj", "") and path.name not in ("LICENSE", Path(__file__).name):
            text = (ROOT / path).read_text("utf-8")
            found += [f"{path}: {match[0]}" for match in machine.finditer(text)]
    assert not found, found


def test_importing_pliant_brings_up_neither_torch_nor_taichi():
    code = "import sys, pliant; pliant.task_names(); print(sorted({'torch', 'taichi', 'trimesh', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_solvers_does_not_start_taichi():
    code = "import pliant.sim.mpm, pliant.envs.task, pliant.sim.render; from pliant.sim.runtime import started; print(started())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"


# README


def readme():
    return (ROOT / "README.md").read_text("utf-8")


def command(name):
    """The lines of the code block behind a mark like `<!-- test: ... -->`."""
    blocks = re.findall(rf"^<!-- {name}: [^\n]*-->\n```sh\n(.*?)^```$", readme(), re.S | re.M)
    assert len(blocks) == 1
    return blocks[0].splitlines()


@pytest.mark.parametrize("name", ["run", "test"])
def test_a_command_of_the_readme_is_one_line_that_makes_its_own_environment(name):
    (line,) = command(name)
    assert re.match(r"python3 -m venv \S+ && ", line)
    assert not re.search(r"\bsudo\b|\bcd\b|https?://", line)
    assert subprocess.run(["bash", "-n", "-c", line], check=False).returncode == 0


def test_the_first_command_runs_a_task_that_there_is():
    (line,) = command("run")
    assert re.search(r"bin/pliant optimize (\S+)", line)[1] in task_names()


def test_ci_runs_the_very_test_line_of_the_readme():
    (line,) = command("test")
    found = subprocess.run([ROOT / ".ci" / "run", "command"], capture_output=True, text=True, check=True).stdout
    assert found == f"{line}\n"
    assert re.search(r"install [^&]*\[test\]", line)
    assert line.endswith("/pytest")


def test_ci_refuses_an_unknown_part():
    done = subprocess.run([ROOT / ".ci" / "run", "everything"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no part 'everything'" in done.stderr


def test_the_capability_table_of_the_readme_is_the_generated_one():
    (table,) = re.findall(r"^<!-- capabilities[^\n]*-->\n(.*?)\n<!-- end -->$", readme(), re.S | re.M)
    assert table == capability_markdown(), "Put the output of `pliant info --markdown` between the marks."


def test_what_the_documents_link_to_is_there():
    missing = []
    for path in files():
        if path.suffix == ".md":
            text = re.sub(r"```.*?```", "", (ROOT / path).read_text("utf-8"), flags=re.S)
            targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
            missing += [f"{path}: {target}" for target in targets if target and not (ROOT / path.parent / target).exists()]
    assert not missing, missing


@pytest.mark.parametrize(
    ("document", "example"),
    [
        ("add-a-material", "own_material"),
        ("add-a-solid", "own_solid"),
        ("add-a-task", "own_task"),
        ("inflow", "jet"),
        ("pde", "own_equation"),
    ],
)
def test_a_document_shows_its_example_as_it_is(document, example):
    """Every code block of the document marked `python` is found in the example, line for line."""
    source = (ROOT / "examples" / f"{example}.py").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / f"{document}.md").read_text("utf-8"), re.S | re.M)
    assert blocks
    assert all(block in source for block in blocks), [block for block in blocks if block not in source]


# The wheel


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the package as a wheel brings it, built from a copy so that nothing is left in the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    for path in files():
        (folder / "clone" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / "clone" / path)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    build = [*pip, "wheel", ".", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    done = subprocess.run(build, cwd=folder / "clone", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], capture_output=True, check=True)
    return folder / "site"


def outside(installed, code, folder):
    """What a process prints that knows the installed package only."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_wheel_holds_the_package_and_its_assets_and_nothing_else(installed):
    there = installed / "pliant"
    packed = {path.relative_to(there) for path in there.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assets = {path for path in files() if path.parts[0] == "assets" and path.suffix != ".py"}
    assert packed == {*modules(), *assets, Path("py.typed")}


def test_an_installed_wheel_simulates_outside_the_clone(installed, tmp_path):
    code = """
import pliant, torch
from pliant.sim.materials import Liquid
from pliant.sim.mpm import Body, MpmModel, MpmSolver
body = Body(torch.tensor([[0.3, 0.3], [0.35, 0.3]], dtype=torch.float64), Liquid(1000.0, 1e4), 1e-3)
solver = MpmSolver(MpmModel([body], (0.0, 0.0), (0.6, 0.6), 0.05, 0.01, dtype=torch.float64))
state = solver.initial_state(1)
print(pliant.__file__, float((solver.step(state, solver.rest_control(1)).position - state.position)[..., 1].mean()))
"""
    place, fallen = outside(installed, code, tmp_path).split()
    assert Path(place) == installed / "pliant" / "__init__.py"
    assert float(fallen) < 0


def test_an_installed_wheel_has_its_command_and_its_checks(installed, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    words = [installed / "bin" / "pliant", "list"]
    listed = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert all(name in listed for name in task_names())
    assert int(outside(installed, "from pliant.validation import CASES; print(len(CASES))", tmp_path)) > 0
