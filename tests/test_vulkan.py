"""The MPM kernels on Taichi's Vulkan backend, which stands in for a GPU: the same numbers as on the CPU, forward and backward."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pliant.errors import DeviceError
from pliant.sim.core import Outcome
from pliant.sim.materials import Elastoplastic, FixedCorotated, Liquid, NeoHookean, Sand, Snow, Viscoplastic
from pliant.sim.mpm import Body, Effector, EffectorControl, Inflow, MpmModel, MpmSolver
from pliant.sim.runtime import start
from pliant.sim.sdf import Box, Moved, Sphere

pytestmark = pytest.mark.vulkan
NO_DEVICE = 77
"""What the other process ends with where Taichi finds no Vulkan device."""


def play(dimension):
    """A block of every material under a coming ball, beside walls of every kind: two steps, and the derivatives of what came of it."""
    values = {
        "stiffness": 2e4, "poisson_ratio": 0.3, "viscosity": 1.0, "yield_stress": 200.0, "hardening": 300.0, "density": 1000.0,
        "friction_angle": 30.0, "cohesion": 100.0, "critical_compression": 0.01, "critical_stretch": 5e-3, "max_stiffening": 1.5,
        "shear_modulus": 5e3, "consistency": 100.0, "flow_index": 0.5, "regularization": 0.5,
        "friction": 0.4, "softness": 0.08, "gravity": -9.81,
    }  # fmt: skip
    p = {name: torch.tensor(value, requires_grad=True) for name, value in values.items()}
    elastic = p["density"], p["stiffness"], p["poisson_ratio"]
    materials = (
        Liquid(p["density"], p["stiffness"], p["viscosity"]),
        FixedCorotated(*elastic),
        NeoHookean(*elastic),
        Elastoplastic(*elastic, p["yield_stress"], p["hardening"]),
        Sand(*elastic, p["friction_angle"], p["cohesion"]),
        Snow(*elastic, p["critical_compression"], p["critical_stretch"], 20.0, p["max_stiffening"]),
        Viscoplastic(
            *(p[n] for n in ("density", "stiffness", "shear_modulus", "yield_stress", "consistency", "flow_index", "regularization"))
        ),
    )
    cell, high = 0.05, dimension - 1
    places = [(x, y) for y in (0.37, 0.23, 0.09) for x in (0.09, 0.25, 0.41)]
    bodies = [
        Body.seeded(Moved(Box([0.07] * dimension), (x, y, 0.2)[:dimension]), material, cell, velocity=(0.3, -0.5, -0.7)[:dimension])
        for (x, y), material in zip(places[: len(materials)], materials, strict=True)
    ]
    centre = (0.31, 0.53) if dimension == 2 else (0.31, 0.28, 0.37)
    ball = Effector(Sphere(0.1, dimension), centre, friction=p["friction"], softness=p["softness"])
    walls = ("slip", "coulomb", "sticky", "separate", "slip", "slip")[: 2 * dimension]
    gravity = torch.stack([torch.zeros(())] * high + [p["gravity"]])
    p["wall_velocity"] = torch.zeros(2 * dimension, dimension)
    p["wall_velocity"][1, 1], p["wall_velocity"][2, 0] = -0.5, 0.4
    p["wall_velocity"].requires_grad_()
    p["inflow"] = torch.tensor([0.1, 0.2, -1.0][-dimension:], requires_grad=True)
    mouth = torch.tensor([[0.1, 0.1, 0.6], [0.125, 0.1, 0.6]])[:, :: 1 if dimension == 3 else 2]
    inflow = Inflow(mouth, materials[0], 0.025**dimension, p["inflow"], 0.013, 10)
    model = MpmModel(
        bodies, [0.0] * dimension, [0.5] * high + [0.7], cell, 0.02, walls=walls, wall_friction=0.3, wall_velocity=p["wall_velocity"],
        effectors=[ball], inflows=[inflow], gravity=gravity,
    )  # fmt: skip
    solver = MpmSolver(model)
    state = solver.initial_state(2)
    state = state.replace(velocity=state.velocity * torch.tensor([1.0, -0.6]).view(2, 1, 1))
    fields = {name: tensor.requires_grad_() for name, tensor in state.floats().items()}
    linear = torch.tensor([0.2, 0.0, -1.0][-dimension:]).expand(2, 1, dimension).clone().requires_grad_()
    angular = torch.full((2, 1, 1 if dimension == 2 else 3), 2.0, requires_grad=True)
    inputs = {**p, **fields, "linear": linear, "angular": angular}
    end = state
    for _ in range(2):
        end = solver.step(end, EffectorControl(linear, angular))
    assert end.outcomes() == [Outcome.OK] * 2
    weights = torch.Generator().manual_seed(0)
    score = sum(
        (tensor * torch.randn(tensor.shape, generator=weights, dtype=torch.float64).float()).sum() for tensor in end.floats().values()
    )
    slopes = torch.autograd.grad(score, list(inputs.values()))
    found = {f"end {name}": tensor.detach() for name, tensor in end.floats().items()}
    return {name: tensor.numpy() for name, tensor in {**found, **dict(zip(inputs, slopes, strict=True))}.items()}


@pytest.mark.parametrize("dimension", [2, 3])
def test_states_and_derivatives_are_those_of_the_cpu(dimension, tmp_path):
    there = subprocess.run(
        [sys.executable, __file__, str(dimension), str(tmp_path / "found.npz")],
        env={**os.environ, "PLIANT_BACKEND": "vulkan"},
        capture_output=True,
        text=True,
        check=False,
    )
    if there.returncode == NO_DEVICE:
        pytest.skip(there.stdout.strip())
    assert there.returncode == 0, there.stderr
    with np.load(tmp_path / "found.npz") as found:
        expected = play(dimension)
        errors = {name: float(np.linalg.norm(found[name] - value) / np.linalg.norm(value)) for name, value in expected.items()}
    assert all(np.linalg.norm(value) > 0 for value in expected.values())
    assert max(errors.values()) < 1e-4, errors


if __name__ == "__main__":
    try:
        start()
    except DeviceError as error:
        print(error)
        sys.exit(NO_DEVICE)
    np.savez(Path(sys.argv[2]), **play(int(sys.argv[1])))
