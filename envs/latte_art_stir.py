"""pliant/LatteArtStir-v0: stir milk on coffee until it shows a given pattern."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError, UnknownNameError
from ..sim.core import State
from ..sim.materials import Liquid
from ..sim.mpm import Body, Effector, EffectorControl, MpmModel, MpmState
from ..sim.sdf import Box, Capsule, Difference, Moved, fill
from ..storage import load_arrays
from .mpm_task import MpmSettings, MpmTask, rounded
from .task import Course

if TYPE_CHECKING:
    from ..sim.render import Camera, Drawing

START = -0.3
"""Where the stirrer starts along x, from the middle of the cup, in widths of the cup; it starts in the middle along y."""


def _heart(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return START + 0.5 * t, 0 * t


def _wave(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return START + 0.6 * t, 0.2 * np.sin(2 * math.pi * t)


def _spiral(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    radius, angle = START * (1 - 0.7 * t), 2 * math.pi * t
    return radius * np.cos(angle), radius * np.sin(angle)


PATTERNS: dict[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]] = {"heart": _heart, "wave": _wave, "spiral": _spiral}
"""The path x, y of a stroke from the middle of the cup, in widths of the cup, by a parameter from 0 to 1."""
_TARGETS: dict[tuple, Tensor] = {}
_KEPT = 16
"""So many targets a process remembers."""


@dataclasses.dataclass(frozen=True)
class LatteArtStirSettings(MpmSettings):
    """Settings of LatteArtStir. Lengths in metres."""

    horizon: int = 40
    dt: float = 0.015
    cell: float = 0.005
    max_speed: float = 0.3
    pattern: str = "heart"
    """The hidden stroke that draws the target: heart, wave, spiral, or an `actions.npz` of this task."""
    stroke_time: float = 0.54
    """How long the hidden stroke takes [s]. What it has not drawn when the episode ends is missing in the target."""
    width: float = 0.07
    """Of the square cup inside."""
    coffee: float = 0.0075
    """Depth of the coffee under the milk."""
    milk: float = 0.005
    """Thickness of the milk."""
    milk_radius: float = 0.025
    """Of the round patch of milk, which floats flush with the coffee around it; from width / sqrt(2) on the milk covers all."""
    stirrer: float = 0.0075
    """Radius of the stirrer."""
    speed_of_sound: float = 2.0
    """In both liquids [m/s]; a real one would only make the time step shorter."""
    coffee_density: float = 1000.0
    milk_density: float = 990.0
    """Of milk with a little foam, so that it floats."""
    coffee_viscosity: float = 1e-3
    milk_viscosity: float = 0.05
    """Of foamy milk."""
    friction: float = 1.0
    """Of the stirrer."""


class LatteArtStir(MpmTask):
    """Milk floats on coffee in a square cup. A stirrer that moves along x, y and z shall draw the pattern that a hidden stroke has drawn.

    The target is where every particle of the milk is at the end of an episode that follows the hidden stroke, simulated by the task's own
    solver with its own settings, so that it can be reached. With milk particles m at x_m, their places in the target x*_m, all in metres:

        cost(s) = mean_m |x_m - x*_m|_s,     |d|_s = sqrt(d^2 + e^2) - e,  e = 1 mm

    as in FluidLab's task, but a mean of rounded distances instead of a sum of squares, and of the milk alone: what coffee does beneath it
    nobody sees. The loss is the cost of the last state, since liquids move on: the hidden stroke passes through other states, and ends in
    this one. The reward of a step is 100 (cost before - cost after).

    The milk is a patch, since a layer over all of the cup would look the same whatever is drawn. The stirrer starts in it, so that the first
    push moves milk: an episode without any motion has a slope. Stops keep it half a cell from the walls and the floor; an action that leads
    further has no derivative there. `full` has FluidLab's proportions (coffee 0.15 and milk 0.02 deep in a cup
    of 0.84), its 500 steps, and about as many particles, in a cup of 8 cm.
    """

    presets = {
        "small": LatteArtStirSettings(),
        "full": LatteArtStirSettings(
            horizon=500,
            dt=0.002,
            cell=0.002,
            width=0.08,
            milk_radius=0.028,
            coffee=0.014,
            milk=0.002,
            stirrer=0.004,
            speed_of_sound=4.0,
            stroke_time=0.8,
        ),
    }
    spins = False
    body_colors = ((0.36, 0.20, 0.10), (0.97, 0.94, 0.88))
    reward_scale = 100.0
    iterations = 40

    def build(self) -> None:
        """Starts the liquids with the pressure of their depth: uncompressed they would sag and bounce."""
        super().build()
        own = self.settings
        depth = own.coffee + own.milk - self._start.position[..., 2]
        pressure = 9.81 * own.coffee_density * depth
        modulus = torch.empty_like(pressure)
        for body, density in zip(self.bodies, (own.coffee_density, own.milk_density), strict=True):
            modulus[:, body] = density * own.speed_of_sound**2
        self._start = self._start.replace(internal=(1 + 7 * pressure / modulus) ** (-1 / 7))  # Tait's equation, see Liquid

    def scene(self) -> MpmModel:
        """The cup is the box, whose walls let slip: the boundary layers of so thin liquids are thinner than a cell."""
        own = self.settings
        if own.stirrer < 1.5 * own.cell:
            raise ModelError(
                f"A stirrer of radius {own.stirrer} m is thinner than three cells of {own.cell} m; use at least {1.5 * own.cell:g} m."
            )
        if own.stroke_time <= 0:
            raise ModelError(f"stroke_time is {own.stroke_time} s; it must be positive.")
        middle, depth = own.width / 2, own.coffee + own.milk
        height = own.cell * (math.ceil(depth / own.cell - 1e-9) + 3)
        stirrer = Capsule(own.stirrer, depth / 2)
        # An odd distance from the floor, so that no node lies exactly on the surface.
        place = (middle + START * own.width, middle, 0.6 * own.cell + own.stirrer + depth / 2)
        cup = Moved(Box((middle, middle, depth / 2)), (middle, middle, depth / 2))
        spacing = own.cell / 2
        points = fill(Difference(cup, Moved(stirrer, place)), spacing)  # one lattice for both, so that nothing gapes between them
        white = (points[:, 2] > own.coffee) & ((points[:, :2] - middle).square().sum(1) < own.milk_radius**2)
        if bool(white.all()) or not bool(white.any()):
            raise ModelError(
                f"There is no particle of {'coffee' if bool(white.all()) else 'milk'} on cells of {own.cell} m; make its layer thicker."
            )
        bodies = [
            Body(part, Liquid(density, density * own.speed_of_sound**2, viscosity), spacing**3)
            for part, density, viscosity in (
                (points[~white], own.coffee_density, own.coffee_viscosity),
                (points[white], own.milk_density, own.milk_viscosity),
            )
        ]
        tool = Effector(stirrer, place, friction=own.friction, softness=own.cell / 2)
        upper = (own.width, own.width, height)
        return MpmModel(bodies, (0.0, 0.0, 0.0), upper, own.cell, own.dt, effectors=(tool,), dtype=self.dtype, device=self.device)

    def control(self, action: Tensor, state: MpmState) -> EffectorControl:
        """The velocity of the stirrer, as far as its stops let it: half a cell from walls and floor, and a cell above the liquid."""
        own = self.settings
        gap, depth = 0.5 * own.cell, own.coffee + own.milk
        side, tip = own.stirrer + gap, own.stirrer + depth / 2  # of its axis from a wall, of its middle above the tip
        low = action.new_tensor([side, side, tip + gap])
        high = action.new_tensor([own.width - side, own.width - side, tip + depth + own.cell])
        motion = super().control(action, state)
        place = state.effector_position
        stopped = torch.maximum(torch.minimum(motion.linear_velocity, (high - place) / self.dt), (low - place) / self.dt)
        return dataclasses.replace(motion, linear_velocity=stopped)

    def target_actions(self) -> Tensor:
        """The hidden stroke `[T, 3]`, the first sequence if it comes from a file; a class derived from this one may give another.

        Raises:
            UnknownNameError: if `pattern` is neither a name in PATTERNS nor an `.npz` file.
            FileFormatError: if the file is missing, or holds no actions.
            ModelError: if they are not `[N, T, 3]` within -1 and 1, or if the stroke is faster than the stirrer.
        """
        own = self.settings
        if own.pattern in PATTERNS:
            path = np.stack(PATTERNS[own.pattern](np.linspace(0, 1, 1001)), 1) * own.width
            drawn = np.concatenate([[0.0], np.linalg.norm(np.diff(path, axis=0), axis=1).cumsum()])
            reached = drawn[-1] / own.stroke_time * own.dt * np.arange(self.horizon + 1)
            places = np.stack([np.interp(reached, drawn, axis) for axis in path.T], 1)  # beyond its end it stays there
            actions = np.pad(np.diff(places, axis=0) / (own.dt * own.max_speed), ((0, 0), (0, 1)))
            if drawn[-1] > own.stroke_time * own.max_speed * (1 - 1e-9):  # rounding would leave the action space
                least = drawn[-1] / own.max_speed
                raise ModelError(f"The stroke of {drawn[-1]:.3g} m is faster than max_speed; use stroke_time >= {least:.3g} s.")
        elif Path(own.pattern).suffix == ".npz":
            found = load_arrays(own.pattern, "action sequences", ("actions",))["actions"]
            if found.dtype.kind != "f" or found.ndim != 3 or found.shape[2] != 3 or not (np.abs(found) <= 1).all():
                raise ModelError(f"{own.pattern} holds no actions of {self.name}; they must be [N, T, 3] and within -1 and 1.")
            actions = found[0]
        else:
            raise UnknownNameError(f"There is no pattern {own.pattern!r}; choose one of {', '.join(PATTERNS)}, or an actions.npz.")
        return torch.as_tensor(actions, dtype=self.dtype, device=self.device)

    @cached_property
    def target(self) -> Tensor:
        """Where every particle, coffee first, is after the hidden stroke `[N, 3]` [m]. Simulated once for all tasks of the same settings.

        Raises:
            ModelError: if the simulation of the stroke fails.
        """
        actions = self.target_actions()
        key = (self.settings, self.dtype, self.device, actions.cpu().numpy().tobytes())
        if key not in _TARGETS:
            state: State = self._start
            with torch.no_grad():
                for action in actions:
                    state = self.step(state, action[None])
            assert isinstance(state, MpmState)
            if not bool(state.ok.all()):
                raise ModelError(f"The stroke of the target fails: {state.outcomes()[0].name}. Make it slower, or change the scene.")
            if len(_TARGETS) >= _KEPT:
                del _TARGETS[next(iter(_TARGETS))]
            _TARGETS[key] = state.position[0]
        return _TARGETS[key]

    def cost(self, state: MpmState) -> Tensor:
        """How far the milk is from its places in the target, `[B]` [m]."""
        milk = self.bodies[1]
        return rounded((state.position[:, milk] - self.target[milk]).square().sum(-1)).mean(1)

    def loss(self, course: Course) -> Tensor:
        """The cost of the last state."""
        return course.stage_costs[:, -1]

    def metrics(self, state: MpmState) -> dict[str, Tensor]:
        """Mean distance of the milk from its places [m], and how far its picture from above and that of the target overlap, from 0 to 1."""
        milk = self.bodies[1]
        distance = (state.position[:, milk] - self.target[milk]).norm(dim=-1).mean(1)
        seen, wanted = self._picture(state.position[:, milk]), self._picture(self.target[None, milk])
        return {"milk_distance": distance, "overlap": torch.minimum(seen, wanted).sum(1) / torch.maximum(seen, wanted).sum(1)}

    def _picture(self, milk: Tensor) -> Tensor:
        """How many particles of milk `[B, M, 3]` lie in each column of the grid, `[B, columns]`."""
        count = self.model.cells[0]
        place = (milk[..., :2] / self.settings.cell).long().clamp(0, count - 1)
        column = place[..., 0] * count + place[..., 1]
        return torch.zeros(len(milk), count * count, dtype=torch.float64, device=milk.device).scatter_add(
            1, column, torch.ones_like(column, dtype=torch.float64)
        )

    def draw(self, state: MpmState, env: int) -> Drawing:
        """The cup on the left, the target on the right; the spheres are large, so that stretched liquid shows no floor."""
        drawing = super().draw(state, env)
        beside = self.target.double().cpu().numpy() + np.array([1.1 * self.settings.width, 0.0, 0.0])
        points, colors = np.concatenate([drawing.points, beside]), np.concatenate([drawing.point_colors] * 2)
        return dataclasses.replace(drawing, points=points, point_colors=colors, radius=0.45 * self.settings.cell)

    def camera(self) -> Camera:
        """From above."""
        from ..sim.render import Camera

        width = self.settings.width
        middle = (1.05 * width, width / 2)
        return Camera.orthographic((*middle, 4 * width), (*middle, 0.0), (0.0, 1.0, 0.0), extent=(2.2 * width, 1.1 * width))

    def vary(self, generator: np.random.Generator) -> dict[str, Any]:
        """Viscosities over a decade, friction within half and double, and the size of the milk within a tenth; the target varies with them."""
        own = self.settings
        return {
            "coffee_viscosity": own.coffee_viscosity * float(10 ** generator.uniform(-0.5, 0.5)),
            "milk_viscosity": own.milk_viscosity * float(10 ** generator.uniform(-0.5, 0.5)),
            "friction": own.friction * float(2 ** generator.uniform(-1, 1)),
            "milk_radius": own.milk_radius * float(generator.uniform(0.9, 1.1)),
        }
