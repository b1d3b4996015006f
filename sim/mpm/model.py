"""The scene of an MPM solver: bodies, walls, moving tools, and a guard on its time step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import ModelError
from ..core import Control, State
from ..materials import Material, Parameter
from ..sdf import GridSdf, Sdf, fill
from .stencil import COULOMB, SEPARATE, SLIP, STICKY

WALLS = {"slip": SLIP, "separate": SEPARATE, "sticky": STICKY, "coulomb": COULOMB}
WAVE_LIMIT = 0.5
"""The fastest wave may cross this share of a cell in a substep."""
VISCOUS_LIMIT = 0.125
"""Viscosity / density times the substep may be this share of a cell's area."""
MOST_PARTICLES = 20_000_000


@dataclasses.dataclass(frozen=True)
class Body:
    """Particles of one material.

    Args:
        points: places at the start [N, D] [m].
        material: what they are made of.
        volume: of a particle at rest [m^3], or [m^2] in two dimensions.
        velocity: at the start, a vector [D] or one for each particle [N, D] [m/s].
    """

    points: Tensor
    material: Material
    volume: float
    velocity: Tensor | Sequence[float] | None = None

    @classmethod
    def seeded(
        cls, shape: Sdf, material: Material, cell: float, *, per_axis: int = 2, velocity: Tensor | Sequence[float] | None = None
    ) -> Body:
        """Fills a shape with particles on a regular lattice, always the same.

        Args:
            shape: a signed distance; a closed mesh becomes one by `GridSdf.from_mesh`.
            material: what it is made of.
            cell: edge of a grid cell [m].
            per_axis: particles a cell along each axis, so per_axis^D in a cell.
            velocity: at the start [m/s].

        Raises:
            ModelError: if no particle fits into the shape.
        """
        if per_axis < 1:
            raise ModelError(f"per_axis is {per_axis}; it must be at least 1 particle a cell and axis.")
        spacing = cell / per_axis
        points = fill(shape, spacing)
        if not len(points):
            raise ModelError(f"The shape holds no particle at a spacing of {spacing:g} m; use smaller cells or a larger shape.")
        return cls(points, material, spacing ** points.shape[1], velocity)


@dataclasses.dataclass(frozen=True)
class Effector:
    """A rigid tool that moves as it is told and feels no force.

    Args:
        shape: its signed distance in its own frame; anything but a GridSdf is sampled at a quarter of a cell.
        position: where its frame starts [D] [m].
        orientation: unit quaternion (w, x, y, z), or an angle [rad] in two dimensions.
        friction: Coulomb's coefficient.
        softness: how far from its surface it begins to act [m]; 0 acts on the nodes inside only.
    """

    shape: Sdf
    position: Sequence[float]
    orientation: Sequence[float] | float | None = None
    friction: Parameter = 0.5
    softness: Parameter = 0.0


@dataclasses.dataclass(frozen=True)
class MpmModel:
    """A box of matter, with walls and tools.

    Args:
        bodies: what is in it.
        lower: corner of the box [D] [m]; D = 2 or 3.
        upper: opposite corner [m]; every edge must be a whole number of cells, at least 4.
        cell: edge of a grid cell [m].
        dt: duration of a control step [s].
        substeps: time steps in a control step; by default as many as stability asks for.
        gravity: [D] or one for each environment [B, D] [m/s^2]; by default 9.81 downwards along the last axis.
        walls: "slip", "separate", "sticky" or "coulomb", for all or for each side (x-, x+, y-, y+, ...).
        wall_friction: Coulomb's coefficient of the walls, for all or for each side.
        wall_velocity: how each wall slides along itself, [2 D, D] or for each environment [B, 2 D, D] [m/s], in the order of `walls`; by
            default they rest. Sticky walls carry matter along, Coulomb walls rub it; the other kinds feel no sliding and must rest. Where two
            walls meet, neither slides across the other.
        effectors: tools.
        dtype: torch.float32 or torch.float64, of all tensors and kernels.
        device: where the tensors lie.

    Raises:
        ModelError: if the box, a body, a tool or the time step does not make sense; the message says what would.
    """

    bodies: Sequence[Body]
    lower: Sequence[float]
    upper: Sequence[float]
    cell: float
    dt: float
    substeps: int | None = None
    gravity: Tensor | Sequence[float] | None = None
    walls: str | Sequence[str] = "slip"
    wall_friction: Parameter | Sequence[float] = 0.0
    wall_velocity: Tensor | Sequence[Sequence[float]] | None = None
    effectors: Sequence[Effector] = ()
    dtype: torch.dtype = torch.float32
    device: str | torch.device = "cpu"

    def __post_init__(self) -> None:
        if self.dtype not in (torch.float32, torch.float64):
            raise ModelError(f"dtype is {self.dtype}; it must be torch.float32 or torch.float64.")
        if self.dimension not in (2, 3) or len(self.upper) != self.dimension:
            raise ModelError(f"lower and upper must both have 2 or 3 entries, not {len(self.lower)} and {len(self.upper)}.")
        for name in ("cell", "dt"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
                raise ModelError(f"{name} is {value!r}; it must be a positive number.")
        for low, high in zip(self.lower, self.upper, strict=True):
            count = (high - low) / self.cell
            if not math.isfinite(count) or count < 3.5 or abs(count - round(count)) > 1e-6 * count:
                raise ModelError(
                    f"The box edge from {low:g} to {high:g} m must be a whole number of cells of {self.cell:g} m, at least 4; it is {count:g}."
                )
        if not self.bodies:
            raise ModelError("A model needs at least one body.")
        self._check_bodies()
        self._check_walls()
        self._check_effectors()
        self._check_step()

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return len(self.lower)

    @property
    def cells(self) -> tuple[int, ...]:
        """Grid cells along each axis."""
        return tuple(round((high - low) / self.cell) for low, high in zip(self.lower, self.upper, strict=True))

    @property
    def particles(self) -> int:
        """The number of particles N."""
        return sum(len(body.points) for body in self.bodies)

    @property
    def steps(self) -> int:
        """Substeps in a control step."""
        return self.substeps if self.substeps is not None else self.stable_substeps()

    def stable_substeps(self) -> int:
        """The least number of substeps for which waves and viscosity stay within their limits."""
        return max(1, math.ceil(self.dt / self.stable_dt()[0] * (1 - 1e-9)))

    def stable_dt(self) -> tuple[float, str]:
        """The longest stable time step [s], and what limits it."""
        limits = []
        for body in self.bodies:
            speed, spread = float(body.material.wave_speed().detach().max()), float(body.material.diffusivity().detach().max())
            limits.append((WAVE_LIMIT * self.cell / speed, f"waves in the {body.material.name} run at {speed:.3g} m/s"))
            if spread > 0:
                limits.append((VISCOUS_LIMIT * self.cell**2 / spread, f"the {body.material.name} diffuses momentum at {spread:.3g} m^2/s"))
        return min(limits)

    def _check_step(self) -> None:
        longest, why = self.stable_dt()
        if self.substeps is None:
            return
        if not isinstance(self.substeps, int) or self.substeps < 1:
            raise ModelError(f"substeps is {self.substeps!r}; it must be a whole number of at least 1.")
        if self.dt / self.substeps > longest * (1 + 1e-6):
            raise ModelError(
                f"A time step of {self.dt / self.substeps:.3g} s is too long: {why}, on cells of {self.cell:g} m. "
                f"Use dt <= {longest * self.substeps:.3g} s with {self.substeps} substeps, or substeps >= {self.stable_substeps()}."
            )

    def _check_bodies(self) -> None:
        if self.particles > MOST_PARTICLES:
            raise ModelError(f"{self.particles} particles are more than {MOST_PARTICLES}; use larger cells or a smaller body.")
        low, high = torch.tensor(self.lower, dtype=torch.float64), torch.tensor(self.upper, dtype=torch.float64)
        for number, body in enumerate(self.bodies):
            points = body.points
            if not isinstance(points, Tensor) or points.ndim != 2 or points.shape[1] != self.dimension or not len(points):
                raise ModelError(f"The points of body {number} must be a tensor [N, {self.dimension}] with at least one row.")
            if not bool(torch.isfinite(points).all()):
                raise ModelError(f"Body {number} has points that are not finite.")
            outside = ((points.cpu() < low) | (points.cpu() > high)).any(1)
            if bool(outside.any()):
                first = int(outside.nonzero()[0])
                raise ModelError(
                    f"{int(outside.sum())} particles of body {number} lie outside the box {tuple(self.lower)} to {tuple(self.upper)} m; "
                    f"the first is number {first} at {[round(v, 4) for v in points[first].tolist()]}. Move the body or enlarge the box."
                )
            if not (math.isfinite(body.volume) and body.volume > 0):
                raise ModelError(f"Body {number} has a particle volume of {body.volume}; it must be positive.")

    def wall_kinds(self) -> list[int]:
        """The kind of each wall, (x-, x+, y-, y+, ...)."""
        names = [self.walls] * (2 * self.dimension) if isinstance(self.walls, str) else list(self.walls)
        if len(names) != 2 * self.dimension or any(name not in WALLS for name in names):
            raise ModelError(f"walls is {self.walls!r}; give one of {', '.join(WALLS)}, or one for each of the {2 * self.dimension} sides.")
        return [WALLS[name] for name in names]

    def _check_walls(self) -> None:
        self.wall_kinds()
        friction = torch.as_tensor(self.wall_friction).detach()
        if not bool(((friction >= 0) & torch.isfinite(friction)).all()):
            raise ModelError(f"wall_friction is {friction.tolist()}; it must be finite and at least 0.")
        if self.wall_velocity is not None:
            self._check_wall_velocity(torch.as_tensor(self.wall_velocity).detach())

    def _check_wall_velocity(self, velocity: Tensor) -> None:
        d = self.dimension
        if velocity.ndim not in (2, 3) or velocity.shape[-2:] != (2 * d, d) or not bool(torch.isfinite(velocity).all()):
            raise ModelError(f"wall_velocity must hold finite numbers, [{2 * d}, {d}] or [B, {2 * d}, {d}], not {tuple(velocity.shape)}.")
        names = [self.walls] * (2 * d) if isinstance(self.walls, str) else list(self.walls)
        for side, name in enumerate(names):
            label = f"{'xyz'[side // 2]}{'-+'[side % 2]}"
            if bool((velocity[..., side, side // 2] != 0).any()):
                raise ModelError(f"wall_velocity moves wall {label} along its normal; walls slide along themselves only.")
            if name in ("slip", "separate") and bool((velocity[..., side, :] != 0).any()):
                raise ModelError(
                    f"wall_velocity moves wall {label}, which is a {name} wall and lets matter slide; make it sticky or coulomb."
                )

    def _check_effectors(self) -> None:
        for number, tool in enumerate(self.effectors):
            if tool.shape.dimension != self.dimension or len(tool.position) != self.dimension:
                raise ModelError(f"Effector {number}: its shape and position must have {self.dimension} dimensions, as the box has.")
            for name in ("friction", "softness"):
                value = torch.as_tensor(getattr(tool, name)).detach()
                if not bool(((value >= 0) & torch.isfinite(value)).all()):
                    raise ModelError(f"Effector {number}: {name} is {value.tolist()}; it must be finite and at least 0.")
            self.start_rotation(tool, number)

    def start_rotation(self, tool: Effector, number: int = 0) -> list[float]:
        """The tool's orientation at the start: a unit quaternion, or (cos, sin) in two dimensions."""
        if self.dimension == 2:
            angle = 0.0 if tool.orientation is None else tool.orientation
            if not isinstance(angle, int | float):
                raise ModelError(f"Effector {number}: in two dimensions its orientation is an angle [rad], not {angle!r}.")
            return [math.cos(angle), math.sin(angle)]
        quaternion = [1.0, 0.0, 0.0, 0.0] if tool.orientation is None else list(tool.orientation)  # type: ignore[arg-type]
        norm = math.sqrt(sum(value * value for value in quaternion)) if len(quaternion) == 4 else 0.0
        if abs(norm - 1) > 1e-3:
            raise ModelError(f"Effector {number}: its orientation must be a unit quaternion (w, x, y, z), not {quaternion}.")
        return [value / norm for value in quaternion]

    def voxels(self, tool: Effector) -> GridSdf:
        """The tool's signed distance on voxels that reach beyond its softness."""
        if isinstance(tool.shape, GridSdf):
            return tool.shape
        softness = float(torch.as_tensor(tool.softness).detach().max())
        spacing = self.cell / 4
        # Whole voxels, so that the lattice does not move with the softness: the step is to be smooth in it.
        return GridSdf.sample(tool.shape, spacing, spacing * math.ceil((softness + 2 * self.cell) / spacing))


@dataclasses.dataclass(frozen=True)
class MpmState(State):
    """Particles and tools of B environments; N particles, E tools, D dimensions."""

    position: Tensor
    """[B, N, D] [m]."""
    velocity: Tensor
    """[B, N, D] [m/s]."""
    apic_affine: Tensor
    """Velocity gradient of APIC [B, N, D, D] [1/s]."""
    deformation_gradient: Tensor
    """[B, N, D, D]; [B, 0, D, D] where no material keeps its shape. It lags the velocity gradient by one substep."""
    internal: Tensor
    """The material's own scalar [B, N]: volume ratio of a liquid, equivalent plastic strain of a plastic solid."""
    effector_position: Tensor
    """[B, E, D] [m]."""
    effector_rotation: Tensor
    """Unit quaternions (w, x, y, z) [B, E, 4], or (cos, sin) [B, E, 2] in two dimensions."""


@dataclasses.dataclass(frozen=True)
class EffectorControl(Control):
    """How the tools move during a step."""

    linear_velocity: Tensor
    """Of the tool's frame, in world axes [B, E, D] [m/s]."""
    angular_velocity: Tensor
    """In world axes [B, E, 3], or [B, E, 1] in two dimensions [rad/s]."""
