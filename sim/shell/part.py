"""A thin shell as the implicit solver sees it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from ...errors import ModelError
from ..materials.base import numbers
from ..solid.bodies import Body, Clamp, Shell
from ..solid.parts import Meshed, Per
from ..solid.term import Term
from .bending import BendingTerm, bending_parameters, outward_directions
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
        self._check_clamps()
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

    @override
    def held_rotations(self) -> np.ndarray:
        held = np.zeros(len(self._own.edges) if self.mid_edge else 0, dtype=bool)
        if self.mid_edge:
            held[self._clamped] = True  # a prescribed tangent plane leaves nothing to turn
        return held

    def _check_clamps(self) -> None:
        """Raises ModelError where an edge is clamped twice, or its directions do not span a plane with it or point into the sheet."""
        who = f"A clamp of {self.body.name!r}"
        if len(np.unique(self._clamped)) < len(self._clamped):
            raise ModelError(f"{who} names an edge that is clamped already.")
        rest, now = self.rest().detach(), torch.from_numpy(self.start()[0])
        for clamp in self._clamps:
            edges = self._edges_of([clamp])
            outward = outward_directions(rest, self._own, edges)
            for name, place in (("direction", now), ("rest_direction", rest)):
                value = getattr(clamp, name)
                way = numbers(name, clamp.direction if value is None else value)
                a, b = place[torch.as_tensor(self._own.edges[edges])].unbind(1)
                along = torch.nn.functional.normalize(b - a, dim=-1)
                across = way - (way * along).sum(-1, keepdim=True) * along
                size = torch.linalg.vector_norm(across, dim=-1)
                if bool((size < 1e-6 * torch.linalg.vector_norm(way, dim=-1)).any()):
                    raise ModelError(f"{who}: {name} runs along an edge, and so gives no tangent plane.")
                if name == "rest_direction" and bool(((across * outward).sum(-1) < -0.5 * size).any()):
                    raise ModelError(f"{who}: {name} points into the sheet at rest; it must point out of it, so turn its sign.")

    def _edges_of(self, clamps: Sequence[Clamp]) -> np.ndarray:
        """The numbers of the clamped edges."""
        known = {tuple(edge): number for number, edge in enumerate(self._own.edges.tolist())}
        found = []
        for clamp in clamps:
            for a, b in np.asarray(clamp.edges).tolist():
                number = known.get((min(a, b), max(a, b)))
                if number is None or not self._own.boundary[number]:
                    raise ModelError(f"A clamp of {self.body.name!r} names vertices {a} and {b}, which no edge of the boundary joins.")
                found.append(number)
        return np.array(found, dtype=np.int64)

    def _directions(self, name: str, per: Per) -> Tensor:
        """One direction for each clamped edge [B, C, 3]."""
        rows = [per(0.0)[:, None, None].expand(-1, 0, 3)]
        for clamp in self._clamps:
            value = getattr(clamp, name)
            tensor = torch.as_tensor(clamp.direction if value is None else value, dtype=torch.float64)
            count = len(np.asarray(clamp.edges))
            rows.append(per(tensor.expand(count, 3) if tensor.ndim == 1 else tensor, (count, 3)))
        return torch.cat(rows, 1)

    @override
    def mass(self, per: Per) -> tuple[Tensor, Tensor]:
        faces = torch.from_numpy(self._own.faces.copy())
        corner = self.rest()[faces]
        third = torch.linalg.vector_norm(torch.linalg.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), dim=-1) / 6
        area = torch.zeros(self.count, dtype=torch.float64).index_add(0, faces.reshape(-1), third.repeat_interleave(3))
        material = self.material
        return (per(material.density) * per(material.thickness))[:, None] * area, per(0.0)[:, None].expand(-1, 0)

    @override
    def parameters(self, per: Per, bend: Tensor, curvature: Tensor) -> list[Tensor]:
        material, rest = self.material, self.rest()
        names = ("youngs_modulus", "poisson_ratio", "thickness", "yield_curvature", "hardening")
        modulus, poisson, thickness, *plastic = (per(getattr(material, name)) for name in names)
        body = self.body
        assert isinstance(body, Shell)
        batch = len(modulus)
        rest = rest.expand(batch, *rest.shape)
        angle = None if body.rest_angle is None else per(body.rest_angle, (len(self._own.edges),))
        membrane = membrane_parameters(rest, self._own.faces, modulus, poisson, thickness)
        make = bending_parameters if self.mid_edge else hinge_parameters
        bending = make(
            rest, self._own, modulus, poisson, thickness, *plastic, clamped=self._clamped, directions=self._directions("direction", per),
            rest_directions=self._directions("rest_direction", per), rest_angle=angle,
            offset=bend if self.mid_edge else bend[..., 0], alpha=curvature,
        )  # fmt: skip
        return [membrane, bending]

    @override
    def arms(self) -> np.ndarray:
        a, b = self._own.edges.T
        length = np.linalg.norm(self.body.mesh.vertices[a] - self.body.mesh.vertices[b], axis=1)
        return 0.5 * length if self.mid_edge else np.zeros(0)

    @override
    def flow(self, end: Tensor, parameters: list[Tensor], bend: Tensor, curvature: Tensor) -> tuple[Tensor, Tensor]:
        if np.isinf(np.asarray(torch.as_tensor(self.material.yield_curvature).detach())).all():
            return bend, curvature
        moved = [self.bending.plastic_update(u, par) for u, par in zip(end, parameters[1], strict=True)]
        new_bend, new_curvature = (torch.stack(pieces) for pieces in zip(*moved, strict=True))
        if not self.mid_edge:
            new_bend = torch.cat([new_bend[..., None], bend[..., 1:]], -1)
        return new_bend, new_curvature
