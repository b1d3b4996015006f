"""The scene of the implicit solver, and where each body's nodes lie among the unknowns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import ModelError
from ..materials.base import numbers
from .bodies import Body, Clamp, Contact, Handle, Kinematic, Pin, Rigid, Shell, Solid, positive

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
        for name, kind in (("bodies", Body), ("handles", Handle), ("pins", Pin), ("clamps", Clamp)):
            value = getattr(self, name)
            strange = [entry for entry in value if not isinstance(entry, kind)] if isinstance(value, list | tuple) else [value]
            if strange:
                wanted = "Shell, Solid, Rigid and Kinematic bodies" if kind is Body else f"{kind.__name__}s"
                raise ModelError(f"{name} must be a list of {wanted}; there is a {type(strange[0]).__name__}.")
        if not isinstance(self.contact, Contact | None):
            raise ModelError(f"contact is a {type(self.contact).__name__}; it must be a Contact, or None.")
        if not len(self.bodies):
            raise ModelError("A model needs at least one body.")
        _different("bodies", [body.name for body in self.bodies])
        _different("handles", [handle.name for handle in self.handles])
        if self.integrator not in INTEGRATORS:
            raise ModelError(f"integrator is {self.integrator!r}; it must be one of {', '.join(INTEGRATORS)}.")
        positive("dt", self.dt)
        positive("tolerance", self.tolerance)
        positive("max_iterations", self.max_iterations)
        self._check_held()
        for clamp in self.clamps:
            if not isinstance(self.body(clamp.body), Shell):
                raise ModelError(f"A clamp names {clamp.body!r}, which is no Shell; hold other bodies with a Pin.")
        if self.contact is not None:
            friction = self.contact.friction if isinstance(self.contact.friction, Mapping) else {}
            for name in (name for pair in (*friction, *self.contact.ignored) for name in pair):
                self.body(name)
            for name in self.contact.self_contact or ():
                if not isinstance(self.body(name), Shell | Solid):
                    raise ModelError(f"Contact: self_contact names {name!r}, which keeps its shape; name shells and solids.")
        self._check_environments()

    def _check_held(self) -> None:
        """Pins and handles: what they name exists, and nothing is held twice over."""
        pinned = [self.vertices(pin.body, pin.vertices, "A pin") for pin in self.pins]
        taken = {int(node): "pinned" for nodes in pinned for node in nodes}
        for handle in self.handles:
            who = f"Handle {handle.name!r}"
            position = numbers(f"{who}: position", handle.position)
            if position.shape != (3,) or not bool(torch.isfinite(position).all()):
                raise ModelError(f"{who}: position must be three finite numbers, not {handle.position}.")
            if not isinstance(handle.attached, Mapping):
                raise ModelError(f"{who}: attached must map names of bodies to vertices, or to None for all of a body.")
            for name, vertices in handle.attached.items():
                if isinstance(self.body(name), Rigid):
                    raise ModelError(f"{who}: {name!r} is Rigid; make it Kinematic to move it by a handle.")
                nodes = self.vertices(name, vertices, who)
                twice = [node for node in nodes if node in taken]
                if twice:
                    vertex = int(twice[0]) - self.first_node(name)
                    raise ModelError(f"{who}: vertex {vertex} of {name!r} is already {taken[twice[0]]}; leave it out of one of the two.")
                taken |= {int(node): f"attached to handle {handle.name!r}" for node in nodes}

    def parameters(self) -> Iterator[tuple[str, Any, tuple[int, ...]]]:
        """What may differ between environments: its name for errors, its value, and its shape in one environment."""
        yield "gravity", self.gravity, (3,)
        for body in self.bodies:
            if isinstance(body, Rigid):
                yield f"{body.name}: density", body.density, ()
            if isinstance(body, Shell | Solid):
                for name, value in vars(body.material).items():
                    if name == "parameters":
                        yield from ((f"{body.name}: a parameter", entry, ()) for entry in value)
                    elif isinstance(value, Tensor | np.ndarray):
                        yield f"{body.name}: {name}", value, ()
            if isinstance(body, Shell) and body.rest_angle is not None:
                edges = np.sort(body.mesh.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
                yield f"{body.name}: rest_angle", body.rest_angle, (len(np.unique(edges, axis=0)),)
        for clamp in self.clamps:
            for name in ("direction", "rest_direction"):
                value = getattr(clamp, name)
                if value is not None and np.ndim(value) != 1:
                    yield f"{name} of a clamp of {clamp.body!r}", value, (len(np.asarray(clamp.edges)), 3)
        if self.contact is not None:
            friction = self.contact.friction
            yield from (
                ("friction", self.contact.default_friction, ()),
                ("stiffness of contact", 0.0 if self.contact.stiffness is None else self.contact.stiffness, ()),
            )
            yield from (("friction", value, ()) for value in (friction.values() if isinstance(friction, Mapping) else [friction]))

    @cached_property
    def environments(self) -> int | None:
        """For how many environments parameters are given; None where all are alike, so that any number may run."""
        sizes = [len(value) for _, value, shape in self.parameters() if np.ndim(value) > len(shape)]
        return sizes[0] if sizes else None

    def _check_environments(self) -> None:
        sizes: dict[int, str] = {}
        for what, value, shape in self.parameters():
            tensor = numbers(what, value)
            batch = tensor.shape[: tensor.ndim - len(shape)]
            if tuple(tensor.shape[len(batch) :]) != shape or len(batch) > 1:
                single = list(shape) if shape else "a number"
                raise ModelError(
                    f"{what} has shape {list(tensor.shape)}; it must be {single}, or one for each environment {['B', *shape]}."
                )
            if (what == "gravity" or what.endswith("rest_angle")) and not bool(torch.isfinite(tensor).all()):
                raise ModelError(f"{what} must be finite.")  # others are checked where they are given
            sizes.update(dict.fromkeys(batch, what))
        if len(sizes) > 1:
            raise ModelError(
                f"Parameters differ in their number of environments: {', '.join(f'{what} has {n}' for n, what in sizes.items())}."
            )

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
        body = self.body(name)
        count = node_count(body)
        if vertices is None:
            return np.arange(count) + self.first_node(name)
        if isinstance(body, Rigid):
            raise ModelError(f"{who} names vertices of {name!r}, which is Rigid: hold all of it (vertices=None), or make it Kinematic.")
        chosen = np.atleast_1d(np.asarray(vertices))
        if chosen.dtype == bool:
            if chosen.shape != (count,):
                raise ModelError(f"{who} has a mask of shape {chosen.shape} for the {count} vertices of {name!r}.")
            chosen = np.flatnonzero(chosen)
        if chosen.size and (chosen.ndim != 1 or not np.issubdtype(chosen.dtype, np.integer)):
            raise ModelError(f"{who} must name vertices of {name!r} by whole numbers [n], not {chosen.dtype} {list(chosen.shape)}.")
        chosen = chosen.astype(np.int64)
        strange = chosen[(chosen < 0) | (chosen >= count)]
        if len(strange):
            raise ModelError(f"{who} names vertex {strange[0]} of {name!r}, which has 0 to {count - 1}.")
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
            held[np.ix_(self.vertices(pin.body, pin.vertices), np.array(["xyz".index(axis) for axis in pin.axes]))] = True
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


def per_environment(value: Any, batch: int, index: Tensor | None, shape: tuple[int, ...] = ()) -> Tensor:
    """A parameter of one of the shapes that `SolidModel` lets pass as a tensor [B, *shape] of doubles.

    Args:
        value: of `shape`, or `[environments, *shape]`.
        batch: the number of environments B that are wanted.
        index: which they are, or None for all.
        shape: of the parameter in one environment.
    """
    tensor = torch.as_tensor(value, dtype=torch.float64)  # from f32, 0.3 would be another number
    if tensor.ndim == len(shape):
        return tensor.expand(batch, *shape)
    return tensor if index is None else tensor[index]


def _different(what: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ModelError(f"Two {what} have the name {twice[0]!r}; give each its own.")
