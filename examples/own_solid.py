"""A scene of one's own for the implicit solver: mesh, materials, gripper, pins, contact. docs/add-a-solid.md explains it."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from pliant import Outcome
from pliant.sim.mesh import Mesh, load_mesh, save_mesh
from pliant.sim.mesh_shapes import boundary_edges, sheet, tetrahedral_box
from pliant.sim.shell import ShellMaterial
from pliant.sim.solid import Clamp, Contact, Handle, Hyperelastic, Kinematic, Pin, Shell, Solid, SolidModel, SolidSolver, determinant

folder = tempfile.TemporaryDirectory()
PATH = Path(folder.name) / "pad.msh"
save_mesh(tetrahedral_box((20.0, 20.0, 10.0), (2, 2, 2)), PATH)  # stands for a file of one's own, in millimetres

pad_mesh = load_mesh(PATH, units="mm", transform=[[1, 0, 0, 0.04], [0, 1, 0, 0.01], [0, 0, 1, 0.0022], [0, 0, 0, 1]])
felt_mesh = sheet(0.08, 0.04, 8, 4)
table_mesh = Mesh(sheet(0.3, 0.2, 2, 2).vertices - np.array([0.1, 0.08, 0.0014]), sheet(0.3, 0.2, 2, 2).faces)


def mooney_rivlin(F, par):
    """Rubber of Mooney and Rivlin with a penalty on changes of volume; defined, and without a force at rest, for any F."""
    C = F.mT @ F
    J = determinant(F)
    first = C.trace()
    second = (first**2 - (C * C).sum()) / 2
    a, b, k = par
    return a * (first - 3) + b * (second - 3) - (2 * a + 4 * b) * (J - 1) + k / 2 * (J - 1) ** 2


stiffness = torch.tensor(2e4, dtype=torch.float64, requires_grad=True)  # [Pa]; the shear modulus is 2 (a + b)
rubber = Hyperelastic(density=1100.0, psi=mooney_rivlin, parameters=[stiffness, 5e3, 4e5])

felt = ShellMaterial(youngs_modulus=2e6, poisson_ratio=0.2, thickness=1e-3, density=200.0)

pad = Solid(pad_mesh, "pad", material=rubber)
cloth = Shell(felt_mesh, "felt", material=felt)
table = Kinematic(table_mesh, "table")

top = pad_mesh.vertices[:, 2] > 0.0121
gripper = Handle("gripper", position=(0.05, 0.02, 0.0122), attached={"pad": top})

root = felt_mesh.vertices[:, 0] < 1e-9
pin = Pin("felt", root, axes="xyz")
clamp = Clamp("felt", boundary_edges(felt_mesh, root), direction=(-1.0, 0.0, 0.0))

contact = Contact(
    activation_distance=1e-3,
    offset=1e-3,
    friction={("pad", "felt"): 1.2, ("felt", "table"): 0.2},
    friction_speed=5e-3,
)

model = SolidModel([pad, cloth, table], dt=0.01, contact=contact, handles=[gripper], pins=[pin], clamps=[clamp])
solver = SolidSolver(model)
state, rest = solver.initial_state(), solver.rest_control()
press = rest.replace(linear_velocity=torch.tensor([[[0.0, 0.0, -0.03]]], dtype=torch.float64))
drag = rest.replace(linear_velocity=torch.tensor([[[0.0, 0.05, 0.0]]], dtype=torch.float64))
for control in [press] * 10 + [drag] * 10:
    state = solver.step(state, control)
    assert state.outcomes() == [Outcome.OK]

corner = state.position[0, model.nodes("felt")][-1]
corner[1].backward()
print(
    f"the pad has pulled the end of the felt by {1e3 * (corner[1].item() - 0.04):.2f} mm, a stiffer one pulls {stiffness.grad:.2g} m/Pa further"
)
assert corner[1] > 0.0405
assert stiffness.grad > 0
