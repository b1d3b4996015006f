"""The scene of the implicit solver, and where each body's nodes lie among the unknowns."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...errors import ModelError
from .bodies import Body, Clamp, Contact, Handle, Kinematic, Pin, Rigid, Shell, positive

INTEGRATORS = ("implicit_euler", "bdf2", "static")


@dataclasses.dataclass(frozen=True, eq=False)
class SolidModel:
    """Bodies, what holds and moves them, and how time is stepped.

    Args:
        bodies: with different names.
        dt: time step [s].
        gravity: [3], or one for each environment [B, 3] [m/s^2].
        contact: how surfaces touch; None lets them pass through each other.
        handles: frames that the control moves.
        pins: vertices that stay.
        clamps: boundary edges of shells with a prescribed tangent plane.
        integrator: "implicit_euler" (first order, damps), "bdf2" (second order, damps little), or "static": every step is an equilibrium,
            and friction resists the motion from one to the next.
        tolerance: a step has converged when Newton's method would move no node faster than this [m/s].
        max_iterations: of Newton's method, all phases of a step together; beyond them the outcome is NOT_CONVERGED.

    Raises:
        ModelError: if names clash or are unknown, vertices do not exist, or a number makes no sense.
    """

    bodies: Sequence[Body]
    dt: float
    gravity: Sequence[float] | Tensor = (0.0, 0.0, -9.81)
    contact: Contact | None = None
    handles: Sequence[Handle] = ()
    pins: Sequence[Pin] = ()
    clamps: Sequence[Clamp] = ()
    integrator: str = "implicit_euler"
    tolerance: float = 1e-7
    max_iterations: int = 500

    def __post_init__(self) -> None:
        names = [body.name for body in self.bodies]
        if not names:
            raise ModelError("A model needs at least one body.")
        if len(set(names)) < len(names):
            raise ModelError(f"Two bodies have the same name: {', '.join(sorted(names))}.")
        if self.integrator not in INTEGRATORS:
            raise ModelError(f"integrator is {self.integrator!r}; it must be one of {', '.join(INTEGRATORS)}.")
        positive("dt", self.dt)
        positive("tolerance", self.tolerance)
        if self.max_iterations < 1:
            raise ModelError(f"max_iterations is {self.max_iterations}; it must be at least 1.")
        for pin in self.pins:
            self.vertices(pin.body, pin.vertices, "A pin")
        taken: set[int] = set()
        for handle in self.handles:
            if len(handle.position) != 3 or not all(map(math.isfinite, handle.position)):
                raise ModelError(f"Handle {handle.name!r}: position must be three finite numbers.")
            for name, vertices in handle.attached.items():
                ids = set(self.vertices(name, vertices, f"Handle {handle.name!r}").tolist())
                if ids & taken:
                    raise ModelError(f"Handle {handle.name!r}: some vertices of {name!r} already follow another handle.")
                if isinstance(self.body(name), Rigid):
                    raise ModelError(f"Handle {handle.name!r}: {name!r} is Rigid; make it Kinematic to move it by a handle.")
                taken |= ids
        if self.contact is not None:
            pairs = [*(self.contact.friction if isinstance(self.contact.friction, dict) else ()), *self.contact.ignored]
            for name in [*(name for pair in pairs for name in pair), *(self.contact.self_contact or ())]:
                self.body(name)
        for clamp in self.clamps:
            if not isinstance(self.body(clamp.body), Shell):
                raise ModelError(f"A clamp names {clamp.body!r}, which is no Shell.")

    def body(self, name: str) -> Body:
        """The body of that name.

        Raises:
            ModelError: if there is none; the message lists those that there are.
        """
        for body in self.bodies:
            if body.name == name:
                return body
        raise ModelError(f"There is no body {name!r}; there are {', '.join(body.name for body in self.bodies)}.")

    def first_node(self, name: str) -> int:
        """Where the nodes of a body begin."""
        self.body(name)
        names = [body.name for body in self.bodies]
        return sum(node_count(body) for body in self.bodies[: names.index(name)])

    def nodes(self, name: str) -> slice:
        """Where the nodes of a body lie in `SolidState.position`; those of all but rigid bodies are its vertices."""
        first = self.first_node(name)
        return slice(first, first + node_count(self.body(name)))

    def vertices(self, name: str, vertices: Sequence[int] | np.ndarray | None, who: str = "This") -> np.ndarray:
        """The nodes of some vertices of a body, or of all of them.

        Raises:
            ModelError: if there is no such body or vertex.
        """
        count = node_count(self.body(name))
        if vertices is None:
            chosen = np.arange(count)
        else:
            chosen = np.atleast_1d(np.asarray(vertices))
            if chosen.dtype == bool and len(chosen) == count:
                chosen = np.flatnonzero(chosen)
            if not np.issubdtype(chosen.dtype, np.integer) or (len(chosen) and (chosen.min() < 0 or chosen.max() >= count)):
                raise ModelError(f"{who} names vertices of {name!r} that do not exist; it has 0 to {count - 1}.")
        return chosen + self.first_node(name)

    @property
    def node_total(self) -> int:
        """The number of nodes N."""
        return sum(node_count(body) for body in self.bodies)

    def held(self) -> np.ndarray:
        """Which coordinates of which nodes are not free, bool [N, 3]."""
        held = np.zeros((self.node_total, 3), dtype=bool)
        for body in self.bodies:
            if isinstance(body, Kinematic):
                held[self.nodes(body.name)] = True
        for pin in self.pins:
            held[np.ix_(self.vertices(pin.body, pin.vertices), ["xyz".index(axis) for axis in pin.axes])] = True
        for handle in self.handles:
            for name, vertices in handle.attached.items():
                held[self.vertices(name, vertices)] = True
        return held

    def handle_of(self) -> np.ndarray:
        """The handle that each node follows, or -1, [N]."""
        owner = np.full(self.node_total, -1, dtype=np.int64)
        for number, handle in enumerate(self.handles):
            for name, vertices in handle.attached.items():
                owner[self.vertices(name, vertices)] = number
        return owner


def node_count(body: Body) -> int:
    """How many nodes a body has: its vertices, or the four corners of a rigid body's frame."""
    return 4 if isinstance(body, Rigid) else len(body.mesh.vertices)


def per_environment(value: object, batch: int, index: Tensor | None, shape: tuple[int, ...], what: str) -> Tensor:
    """A parameter as a tensor [B, ...] of doubles.

    Raises:
        ModelError: if it has neither `shape` nor `[B, *shape]`.
    """
    tensor = torch.as_tensor(value).to(torch.float64)
    if tuple(tensor.shape) == shape:
        return tensor.expand(batch, *shape)
    if tensor.ndim == len(shape) + 1 and tuple(tensor.shape[1:]) == shape:
        chosen = tensor if index is None else tensor[index]
        if len(chosen) == batch:
            return chosen
    raise ModelError(f"{what} has shape {tuple(tensor.shape)}; it must be {shape}, or that with one entry for each environment before it.")
