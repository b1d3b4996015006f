"""Every example ends in a check; here they run, each in a process of its own, and so does what the README shows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(words, folder):
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_its_check_holds(example, tmp_path):
    assert "assert " in example.read_text("utf-8")
    assert run([str(example)], tmp_path)


def test_what_the_readme_shows_runs(tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.S | re.M)
    assert len(blocks) == 2
    simulation, environments = blocks
    slope = run(["-c", f"{simulation}print(float(viscosity.grad))"], tmp_path)
    assert float(slope) < 0  # a thicker oil spreads less
    shapes = run(["-c", f"{environments}print(env.reset()[0].shape, envs.reset()[0].shape)"], tmp_path)
    first, batch = re.fullmatch(r"\((\d+),\) \((8, \d+)\)", shapes.strip()).groups()
    assert batch == f"8, {first}"
