"""Makes pour.png, the picture of the README: water from a tilting glass over a soft cube and a block of dough.

`python docs/images/make_pour.py` takes a minute or two on two cores.
"""

from pathlib import Path

import numpy as np
import torch

from pliant import Outcome
from pliant.app.video import write_png
from pliant.sim.materials import Elastoplastic, Liquid, NeoHookean
from pliant.sim.mpm import Body, Effector, EffectorControl, MpmModel, MpmSolver, MpmState
from pliant.sim.render import Camera, Drawing, Surface, render
from pliant.sim.rotation import rotation_matrix
from pliant.sim.sdf import Box, Cylinder, Difference, Moved

CELL = 0.006  # [m]
RADIUS, HALF_HEIGHT, WALL = 0.036, 0.045, 0.010  # of the glass [m]
START = (0.11, 0.09, 0.19)
SEEN = (12, 26, 42)  # control steps of 20 ms
TILT = 26  # control steps until the glass is still
BLUE, GREEN, SAND, GLASS = (0.25, 0.55, 0.88), (0.45, 0.72, 0.40), (0.90, 0.72, 0.45), (0.75, 0.85, 0.92)


def scene() -> MpmModel:
    cavity = Moved(Cylinder(RADIUS, HALF_HEIGHT + WALL), (0.0, 0.0, 2 * WALL))
    glass = Effector(Difference(Cylinder(RADIUS + WALL, HALF_HEIGHT + WALL / 2), cavity), START, friction=0.05, softness=CELL / 2)
    water = Moved(Cylinder(RADIUS - CELL / 4, 0.036), (START[0], START[1], START[2] - HALF_HEIGHT + 0.5 * WALL + 0.037))
    bodies = [
        Body.seeded(water, Liquid(1000.0, 2.5e4, 1e-3), CELL),
        Body.seeded(Moved(Box((0.026, 0.04, 0.035)), (0.20, 0.09, 0.0352)), NeoHookean(900.0, 5e3, 0.3), CELL),
        Body.seeded(Moved(Box((0.05, 0.05, 0.012)), (0.30, 0.09, 0.0122)), Elastoplastic(1100.0, 2e4, 0.3, 400.0), CELL),
    ]
    return MpmModel(bodies, (0.0, 0.0, 0.0), (0.384, 0.18, 0.3), CELL, 0.02, walls="separate", effectors=[glass])


def drawn(model: MpmModel, state: MpmState) -> Drawing:
    colors = np.repeat(np.array([BLUE, GREEN, SAND]), [len(body.points) for body in model.bodies], 0)
    surface = model.voxels(model.effectors[0]).surface()
    turn = rotation_matrix(state.effector_rotation[0, 0].double())
    vertices = torch.tensor(surface.vertices) @ turn.T + state.effector_position[0, 0].double()
    return Drawing(state.position[0], colors, 0.45 * CELL, [Surface(vertices.numpy(), surface.faces, GLASS, 0.3)], ground=0.0)


def main() -> None:
    model = scene()
    solver = MpmSolver(model)
    state, control = solver.initial_state(1), solver.rest_control(1)
    drawings = []
    with torch.no_grad():
        for step in range(max(SEEN) + 1):
            if step in SEEN:
                drawings.append(drawn(model, state))
            speed = 1.0 if step < TILT else 0.0
            motion = EffectorControl(control.linear_velocity + speed * torch.tensor([-0.02, 0.0, 0.02]),
                                     control.angular_velocity + speed * torch.tensor([0.0, 3.6, 0.0]))  # fmt: skip
            state = solver.step(state, motion)
    assert state.outcomes() == [Outcome.OK]
    picture = render(drawings, Camera((0.30, -0.46, 0.36), (0.185, 0.09, 0.105), field_of_view=30), 420, 320)
    write_png(Path(__file__).with_name("pour.png"), np.concatenate(list(picture.rgb), 1))


if __name__ == "__main__":
    main()
