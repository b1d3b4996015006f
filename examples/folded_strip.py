"""A strip of paper is folded over by a gripper, pressed, and let go: it springs back, but the crease stays."""

import math

import numpy as np
import torch

from pliant import Outcome
from pliant.sim.mesh import Mesh
from pliant.sim.mesh_shapes import sheet
from pliant.sim.shell import paper
from pliant.sim.solid import Contact, Handle, Kinematic, Pin, Shell, SolidModel, SolidSolver, SolidState

LENGTH, WIDTH, COLUMNS, ROWS = 0.08, 0.02, 24, 6  # [m]
DT = 0.005  # [s]
FOLD, PRESS, REST = 40, 10, 60  # steps
CONTACT = Contact(activation_distance=5e-4, offset=1e-4, friction=0.3)

flat = sheet(LENGTH, WIDTH, COLUMNS, ROWS)
strip = Shell(Mesh(flat.vertices + np.array([0.0, 0.0, 6e-4]), flat.faces), "strip", material=paper())
ground = sheet(0.3, 0.2, 1, 1)
table = Kinematic(Mesh(ground.vertices - np.array([0.1, 0.09, 0.0]), ground.faces), "table")
held = Pin("strip", np.flatnonzero(flat.vertices[:, 0] < 0.3 * LENGTH))
end = flat.vertices[:, 0] > 0.85 * LENGTH


def solver(*handles: Handle) -> SolidSolver:
    return SolidSolver(SolidModel([strip, table], dt=DT, contact=CONTACT, pins=[held], handles=handles, tolerance=1e-5))


def angle(state: SolidState) -> float:
    """Between the two ends of the strip [degrees]; 0 is flat, 180 folded over."""
    column = state.position[0, : len(flat.vertices)].reshape(COLUMNS + 1, ROWS + 1, 3).mean(1)
    tail = column[-1] - column[-4]
    return math.degrees(math.atan2(float(tail[2]), float(tail[0]))) % 360


# The gripper carries the end over in half a circle, and presses it down.
grip = solver(Handle("gripper", (LENGTH, 0.5 * WIDTH, 6e-4), {"strip": end}))
state, control = grip.initial_state(), grip.rest_control()
rate = math.radians(175) / (FOLD * DT)
for step in range(FOLD + PRESS):
    turned = math.radians(175) * (step + 0.5) / FOLD
    if step < FOLD:
        way = 0.4 * LENGTH * rate * np.array([-math.sin(turned), 0.0, math.cos(turned)])
        linear, angular = torch.tensor(way + np.array([0.0, 0.0, 0.004 / (FOLD * DT)])), torch.tensor([0.0, -rate, 0.0])
    else:
        linear, angular = torch.tensor([0.0, 0.0, -0.0025 / (PRESS * DT)], dtype=torch.float64), torch.zeros(3)
    move = {"linear_velocity": linear.double()[None, None], "angular_velocity": angular.double()[None, None]}
    state = grip.step(state, control.replace(**move))
    assert state.outcomes() == [Outcome.OK], step
folded = angle(state)

# Let go: the same scene without the gripper goes on from where it was.
free = solver()
none = {name: getattr(state, name)[:, :0] for name in ("handle_position", "handle_rotation")}
state = state.replace(**none)
for _ in range(REST):
    state = free.step(state, free.rest_control())
    assert state.outcomes() == [Outcome.OK]
left = angle(state)
print(f"folded to {folded:.0f} degrees, {left:.0f} degrees are left after release")
assert folded > 150, folded
assert 20 < left < folded - 10, left
