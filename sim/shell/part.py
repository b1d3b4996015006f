"""A thin shell as the implicit solver sees it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...errors import ModelError
from ..solid.bodies import Body, Clamp, Shell
from ..solid.model import per_environment
from ..solid.parts import Meshed, Per
from ..solid.term import Term
from .bending import BendingTerm, bending_parameters
from .hinge import HingeTerm, hinge_edges, hinge_parameters
from .membrane import MembraneTerm, membrane_parameters
from .topology import ShellTopology


class ShellPart(Meshed):
    """Triangles with lumped masses, a membrane term and a bending term; with mid-edge bending every edge has a rotation.

    Args:
        body: what the user described.
        first: its first node.
        rotations: the unknown that is its first edge rotation.
        unknowns: how many there are in all.
        clamps: of its boundary edges.
    """

    def __init__(self, body: Shell, first: int, rotations: int, unknowns: int, clamps: Sequence[Clamp]) -> None:
        super().__init__(body, first)
        self.material = body.material
        low, high = body.mesh.bounds
        thickest = float(torch.as_tensor(body.material.thickness).detach().max())
        if thickest > 0.5 * float((high - low).max()):
            raise ModelError(
                f"Shell {body.name!r} is {thickest:g} m thick but only {float((high - low).max()):g} m wide; thickness is in metres."
            )
        self.mid_edge = body.material.bending == "mid_edge"
        self._own = ShellTopology.of(body.mesh.faces)
        placed = ShellTopology.of(body.mesh.faces + first)
        self._clamps = list(clamps)
        self._clamped = self._edges_of(self._clamps)
        if len(np.unique(self._clamped)) < len(self._clamped):
            raise ModelError(f"Shell {body.name!r}: an edge is clamped twice.")
        self.bending: BendingTerm | HingeTerm
        if self.mid_edge:
            self.bending = BendingTerm(placed, self._clamped, rotations, unknowns)
            self.bending_elements = len(self._own.faces)
        else:
            self.bending = HingeTerm(placed, self._clamped, unknowns)
            self.bending_elements = len(hinge_edges(self._own, self._clamped))
        self._membrane = MembraneTerm(placed.faces, body.material.membrane, unknowns)
        self.terms: list[Term] = [self._membrane, self.bending]

    @staticmethod
    def rotations(body: Body) -> int:
        """How many edge rotations a shell has."""
        assert isinstance(body, Shell)
        return len(ShellTopology.of(body.mesh.faces).edges) if body.material.bending == "mid_edge" else 0

    def held_rotations(self) -> np.ndarray:
        held = np.zeros(len(self._own.edges) if self.mid_edge else 0, dtype=bool)
        if self.mid_edge:
            held[self._clamped] = True  # a prescribed tangent plane leaves nothing to turn
        return held

    def _edges_of(self, clamps: Sequence[Clamp]) -> np.ndarray:
        """The numbers of the clamped edges."""
        known = {tuple(edge): number for number, edge in enumerate(self._own.edges.tolist())}
        numbers = []
        for clamp in clamps:
            for a, b in np.asarray(clamp.edges, dtype=np.int64).reshape(-1, 2).tolist():
                number = known.get((min(a, b), max(a, b)))
                if number is None or not self._own.boundary[number]:
                    raise ModelError(f"A clamp of {self.body.name!r} names vertices {a} and {b}, which no boundary edge joins.")
                numbers.append(number)
        return np.array(numbers, dtype=np.int64)

    def _directions(self, name: str, batch: int) -> Tensor:
        """One direction for each clamped edge [B, C, 3]."""
        rows = [torch.zeros(batch, 0, 3, dtype=torch.float64)]
        for clamp in self._clamps:
            value = getattr(clamp, name)
            tensor = torch.as_tensor(clamp.direction if value is None else value).to(torch.float64)
            count = len(np.asarray(clamp.edges).reshape(-1, 2))
            tensor = tensor.expand(count, 3) if tensor.ndim == 1 else tensor
            rows.append(per_environment(tensor, batch, None, (count, 3), f"The {name} of a clamp of {self.body.name!r}"))
        return torch.cat(rows, 1)

    def mass(self, per: Per) -> tuple[Tensor, Tensor]:
        faces = torch.from_numpy(self._own.faces.copy())
        corner = self.rest()[faces]
        third = torch.linalg.vector_norm(torch.linalg.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), dim=-1) / 6
        area = torch.zeros(self.count, dtype=torch.float64).index_add(0, faces.reshape(-1), third.repeat_interleave(3))
        material = self.material
        return (per(material.density) * per(material.thickness))[:, None] * area, per(0.0)[:, None].expand(-1, 0)

    def parameters(self, per: Per, bend: Tensor, curvature: Tensor) -> list[Tensor]:
        material, rest = self.material, self.rest()
        names = ("youngs_modulus", "poisson_ratio", "thickness", "yield_curvature", "hardening")
        modulus, poisson, thickness, *plastic = (per(getattr(material, name)) for name in names)
        body = self.body
        assert isinstance(body, Shell)
        batch = len(modulus)
        rest = rest.expand(batch, *rest.shape)
        membrane = membrane_parameters(rest, self._own.faces, modulus, poisson, thickness)
        make = bending_parameters if self.mid_edge else hinge_parameters
        bending = make(
            rest, self._own, modulus, poisson, thickness, *plastic, clamped=self._clamped, directions=self._directions("direction", batch),
            rest_directions=self._directions("rest_direction", batch), rest_angle=body.rest_angle,
            offset=bend if self.mid_edge else bend[..., 0], alpha=curvature,
        )  # fmt: skip
        return [membrane, bending]

    def arms(self) -> np.ndarray:
        a, b = self._own.edges.T
        length = np.linalg.norm(self.body.mesh.vertices[a] - self.body.mesh.vertices[b], axis=1)
        return 0.5 * length if self.mid_edge else np.zeros(0)

    def flow(self, end: Tensor, parameters: list[Tensor], bend: Tensor, curvature: Tensor) -> tuple[Tensor, Tensor]:
        if np.isinf(np.asarray(torch.as_tensor(self.material.yield_curvature).detach())).all():
            return bend, curvature
        moved = [self.bending.plastic_update(u, par) for u, par in zip(end, parameters[1], strict=True)]
        new_bend, new_curvature = (torch.stack(pieces) for pieces in zip(*moved, strict=True))
        if not self.mid_edge:
            new_bend = torch.cat([new_bend[..., None], bend[..., 1:]], -1)
        return new_bend, new_curvature
