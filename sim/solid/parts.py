"""Bodies as the solver sees them: their nodes, masses, energies, and the parameters of these as torch functions of the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from ...errors import ModelError
from ..materials.base import lame, numbers
from .bodies import Body, Clamp, Kinematic, Rigid, Shell, Solid
from .custom import HyperelasticTerm, hyperelastic_parameters
from .materials import Hyperelastic
from .model import SolidModel, node_count
from .term import Term
from .tetrahedra import TetrahedronTerm, tetrahedron_parameters

Per = Callable[..., Tensor]
"""`per(value)` is a parameter as one number for each environment [B]; `per(value, shape)` one tensor `[B, *shape]`."""


class Part(ABC):
    """One body of a model.

    Args:
        body: what the user described.
        first: its first node.
    """

    def __init__(self, body: Body, first: int) -> None:
        self.body, self.first, self.count = body, first, node_count(body)
        self.terms: list[Term] = []
        self.coupled = np.empty((0, 2), dtype=np.int64)
        self.bending_elements = 0

    @property
    def nodes(self) -> slice:
        """Its nodes among all."""
        return slice(self.first, self.first + self.count)

    @abstractmethod
    def start(self) -> tuple[np.ndarray, np.ndarray]:
        """Places and velocities of its nodes at the start [n, 3]."""

    @abstractmethod
    def mass(self, per: Per) -> tuple[Tensor, Tensor]:
        """The diagonal of its mass matrix [B, n], and its entries for `coupled` pairs of nodes [B, m] [kg]."""

    def parameters(self, per: Per, bend: Tensor, curvature: Tensor) -> list[Tensor]:
        """The parameters of its terms [B, elements, p].

        Args:
            per: turns a parameter into one for each environment.
            bend: plastic bend of its bending elements [B, r, 3].
            curvature: their gathered plastic curvature [B, r].
        """
        return []

    def held_rotations(self) -> np.ndarray:
        """Which of its edge rotations are not free, bool [e]."""
        return np.zeros(0, dtype=bool)

    def arms(self) -> np.ndarray:
        """By how much a turn of its edge rotations moves something [e] [m]."""
        return np.zeros(0)

    def flow(self, end: Tensor, parameters: list[Tensor], bend: Tensor, curvature: Tensor) -> tuple[Tensor, Tensor]:
        """The plastic bend and curvature after a step that ended at `end` [B, U]."""
        return bend, curvature

    def surface_vertices(self) -> np.ndarray:
        """The vertices of the mesh that lie on its surface, ascending [S]."""
        return np.unique(self.body.mesh.faces)

    def surface_weights(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The surface's vertices from the body's own nodes: which of the S, which node, and its weight; by default they are nodes."""
        used = self.surface_vertices()
        return np.arange(len(used)), used, np.ones(len(used))


class Meshed(Part):
    """A body whose nodes are the vertices of its mesh."""

    @override
    def start(self) -> tuple[np.ndarray, np.ndarray]:
        mesh, start, velocity = self.body.mesh, getattr(self.body, "start", None), getattr(self.body, "velocity", None)
        place = mesh.vertices if start is None else numbers("start", start).numpy()
        speed = np.zeros(3) if velocity is None else numbers("velocity", velocity).numpy()
        return np.array(place), np.array(np.broadcast_to(speed, place.shape))

    def rest(self) -> Tensor:
        """Places of the vertices at rest [V, 3]."""
        rest = getattr(self.body, "rest", None)
        return torch.from_numpy(self.body.mesh.vertices.copy()) if rest is None else torch.as_tensor(rest, dtype=torch.float64)

    @override
    def mass(self, per: Per) -> tuple[Tensor, Tensor]:
        return per(0.0)[:, None].expand(-1, self.count), per(0.0)[:, None].expand(-1, 0)


class KinematicPart(Meshed):
    """An obstacle."""


class SolidPart(Meshed):
    """Tetrahedra with lumped masses."""

    def __init__(self, body: Solid, first: int, unknowns: int) -> None:
        super().__init__(body, first)
        self._own = torch.from_numpy(body.mesh.tetrahedra.copy())
        self.material = body.material
        if isinstance(body.material, Hyperelastic):
            self.terms = [HyperelasticTerm(self._own + first, body.material.psi, unknowns)]
        else:
            self.terms = [TetrahedronTerm(self._own + first, body.material.name, unknowns)]

    @override
    def mass(self, per: Per) -> tuple[Tensor, Tensor]:
        corner = self.rest()[self._own]
        edge = corner[:, 1:] - corner[:, :1]
        quarter = torch.linalg.det(edge).abs() / 24
        lumped = torch.zeros(self.count, dtype=torch.float64).index_add(0, self._own.reshape(-1), quarter.repeat_interleave(4))
        return per(self.material.density)[:, None] * lumped, per(0.0)[:, None].expand(-1, 0)

    @override
    def parameters(self, per: Per, bend: Tensor, curvature: Tensor) -> list[Tensor]:
        if isinstance(self.material, Hyperelastic):
            values = [per(value) for value in self.material.parameters]
            material = torch.stack(values, -1) if values else per(0.0)[:, None][:, :0]
            return [hyperelastic_parameters(self.rest(), self._own, material[:, None])]
        moduli = lame(per(self.material.youngs_modulus)[:, None], per(self.material.poisson_ratio)[:, None])
        return [tetrahedron_parameters(self.rest(), self._own, *(torch.as_tensor(modulus) for modulus in moduli))]


class RigidPart(Part):
    """A frame of four nodes, the centre of mass and a step along each axis, with the body's exact mass matrix.

    The frame is one tetrahedron of St. Venant-Kirchhoff material with mu alone, which is the orthogonality potential of affine bodies.
    """

    def __init__(self, body: Rigid, first: int, unknowns: int) -> None:
        super().__init__(body, first)
        volume, self.centre, second = _moments(body.mesh.vertices, body.mesh.faces)
        self.arm = float(np.sqrt(np.trace(second) / volume))
        self.volume = volume
        weights = np.zeros((4, 4))  # volume integrals of products of the frame's barycentric coordinates
        weights[1:, 1:] = second / self.arm**2
        weights[0, 1:] = weights[1:, 0] = -weights[1:, 1:].sum(0)
        weights[0, 0] = volume - 2 * weights[0, 1:].sum() - weights[1:, 1:].sum()
        self._weights = weights
        own = np.array([(a, b) for a in range(4) for b in range(a + 1, 4)])
        self._pairs, self.coupled = own, own + first
        tetrahedron = torch.arange(4)[None]
        self.terms = [TetrahedronTerm(tetrahedron + first, "st_venant_kirchhoff", unknowns)]
        frame = torch.from_numpy(self.frame())
        mu = torch.tensor([4 * body.stiffness * volume / (self.arm**3 / 6)], dtype=torch.float64)
        self._parameters = tetrahedron_parameters(frame, tetrahedron, mu, 0 * mu)

    def frame(self) -> np.ndarray:
        """Places of the four nodes in the mesh's coordinates [4, 3]."""
        return self.centre + self.arm * np.vstack([np.zeros(3), np.eye(3)])

    def barycentric(self) -> np.ndarray:
        """Weights of the four nodes for every vertex of the mesh [V, 4]."""
        along = (self.body.mesh.vertices - self.centre) / self.arm
        return np.column_stack([1 - along.sum(1), along])

    @override
    def start(self) -> tuple[np.ndarray, np.ndarray]:
        body = self.body
        assert isinstance(body, Rigid)
        spin, speed = numbers("angular_velocity", body.angular_velocity).numpy(), numbers("velocity", body.velocity).numpy()
        return self.frame(), speed + np.cross(spin, self.frame() - self.centre)

    @override
    def mass(self, per: Per) -> tuple[Tensor, Tensor]:
        body = self.body
        assert isinstance(body, Rigid)
        density = per(body.density)[:, None]
        a, b = self._pairs.T
        return density * torch.from_numpy(np.diag(self._weights).copy()), density * torch.from_numpy(self._weights[a, b])

    @override
    def parameters(self, per: Per, bend: Tensor, curvature: Tensor) -> list[Tensor]:
        return [self._parameters.expand(len(bend), *self._parameters.shape)]

    @override
    def surface_weights(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        used = self.surface_vertices()
        return np.repeat(np.arange(len(used)), 4), np.tile(np.arange(4), len(used)), self.barycentric()[used].ravel()


def _moments(vertices: np.ndarray, faces: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Volume, centroid [3], and second moments about it [3, 3] of the solid inside a closed surface."""
    middle = vertices.mean(0)
    corner = vertices[faces] - middle
    volumes = np.einsum("ij,ij->i", corner[:, 0], np.cross(corner[:, 1], corner[:, 2])) / 6
    total = corner.sum(1)  # with the apex at the origin
    volume = float(volumes.sum())
    first = np.einsum("f,fi->i", volumes, total) / 4
    second = (np.einsum("f,fki,fkj->ij", volumes, corner, corner) + np.einsum("f,fi,fj->ij", volumes, total, total)) / 20
    centre = first / volume
    return volume, centre + middle, second - volume * np.outer(centre, centre)


def make_parts(model: SolidModel) -> tuple[list[Part], int]:
    """The parts of all bodies, and the number U of unknowns."""
    from ..shell.part import ShellPart  # shells build on solids

    clamps: dict[str, list[Clamp]] = {}
    for clamp in model.clamps:
        clamps.setdefault(clamp.body, []).append(clamp)
    nodes = model.node_total
    rotations = {body.name: ShellPart.rotations(body) for body in model.bodies if isinstance(body, Shell)}
    unknowns = 3 * nodes + sum(rotations.values())
    parts: list[Part] = []
    offset = 3 * nodes
    for body in model.bodies:
        first = model.first_node(body.name)
        if isinstance(body, Shell):
            parts.append(ShellPart(body, first, offset, unknowns, clamps.get(body.name, [])))
            offset += rotations[body.name]
        elif isinstance(body, Solid):
            parts.append(SolidPart(body, first, unknowns))
        elif isinstance(body, Rigid):
            parts.append(RigidPart(body, first, unknowns))
        elif isinstance(body, Kinematic):
            parts.append(KinematicPart(body, first))
        else:
            raise ModelError(f"Body {body.name!r} is a {type(body).__name__}; it must be a Shell, Solid, Rigid or Kinematic.")
    return parts, unknowns
