"""A cloth falls over a mesh from a file and drapes it; nothing passes through anything."""

import argparse
from pathlib import Path

import numpy as np

import pliant
from pliant import Outcome
from pliant.sim.mesh import Mesh, load_mesh
from pliant.sim.mesh_shapes import sheet
from pliant.sim.shell import cloth
from pliant.sim.solid import Contact, Kinematic, Shell, SolidModel, SolidSolver

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("mesh", nargs="?", default=Path(pliant.__file__).parent / "assets" / "loaf.obj", help="a closed mesh [m]")
parser.add_argument("--size", type=float, default=0.1, help="its largest side is scaled to this [m]")
options = parser.parse_args()

shape = load_mesh(options.mesh)
low, high = shape.bounds
scale = options.size / float(np.max(high - low))
shape = Mesh((shape.vertices - 0.5 * (low + high)) * scale, shape.faces)
top = float(shape.vertices[:, 2].max())

SIDE, CELLS = 2.0 * options.size, 16
square = sheet(SIDE, SIDE, CELLS, CELLS)
above = Mesh(square.vertices + np.array([-0.5 * SIDE, -0.5 * SIDE, top + 0.003]), square.faces)
model = SolidModel(
    [Shell(above, "cloth", material=cloth()), Kinematic(shape, "shape")],
    dt=0.01,
    contact=Contact(activation_distance=2e-3, offset=5e-4, friction=0.2),
)
solver = SolidSolver(model)
state, control = solver.initial_state(), solver.rest_control()
for _ in range(30):
    state = solver.step(state, control)
    assert state.outcomes() == [Outcome.OK]
drop = float(state.position[0, model.nodes("cloth"), 2].max() - state.position[0, model.nodes("cloth"), 2].min())
print(f"the middle of the cloth lies {1e3 * (float(state.position[0, model.nodes('cloth'), 2].max()) - top):.1f} mm above the shape")
assert solver.intersections(state) == [[]]
assert drop > 0.3 * options.size, drop
