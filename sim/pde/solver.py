"""The solver of equations that evolve in time: explicit and implicit steps under the contract of `sim/core.py`."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from ...errors import ModelError, ShapeError
from ..core import Capabilities, Control, Outcome, Solver, State, keep_failed
from .equation import Evolution, Oscillation, Steady
from .implicit import Newton, implicit_solve
from .linear import Method, linearizer

Scheme = Literal["euler", "ssprk3", "leapfrog", "theta"]


@dataclasses.dataclass(frozen=True)
class PdeModel:
    """An equation and how it is stepped.

    Args:
        equation: an `Evolution`, or an `Oscillation` for "leapfrog".
        dt: the time of a control step [s].
        scheme: "euler" or "ssprk3" (Shu and Osher 1988), explicit; "theta", implicit; "leapfrog".
        theta: of the implicit scheme, at least 1/2: 1 is implicit Euler, 1/2 Crank-Nicolson.
        substeps: time steps in a control step.
        linear: how implicit steps solve with their Jacobian, see `linear.linearizer`.
        tolerance: of Newton's method, see `implicit.Newton`.
        max_iterations: of Newton's method.

    Raises:
        ModelError: if something makes no sense.
    """

    equation: Evolution | Oscillation
    dt: float
    scheme: Scheme = "theta"
    theta: float = 1.0
    substeps: int = 1
    linear: Method = "auto"
    tolerance: float | None = None
    max_iterations: int = 20

    def __post_init__(self) -> None:
        if not (math.isfinite(self.dt) and self.dt > 0):
            raise ModelError(f"The time step is {self.dt} s; it must be positive.")
        if self.scheme not in ("euler", "ssprk3", "leapfrog", "theta"):
            raise ModelError(f"The scheme is {self.scheme!r}; it must be 'euler', 'ssprk3', 'leapfrog' or 'theta'.")
        wanted = Oscillation if self.scheme == "leapfrog" else Evolution
        if not isinstance(self.equation, wanted):
            raise ModelError(f"The scheme {self.scheme!r} steps an {wanted.__name__}, which {type(self.equation).__name__} is not.")
        if not 0.5 <= self.theta <= 1:
            raise ModelError(f"theta is {self.theta}; it must lie between 0.5 and 1.")
        for name in ("substeps", "max_iterations"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ModelError(f"{name} is {value!r}; it must be a whole number of at least 1.")
        if self.tolerance is not None and not self.tolerance > 0:
            raise ModelError(f"The tolerance is {self.tolerance}; it must be positive.")

    @property
    def span(self) -> float:
        """The length of a substep [s]."""
        return self.dt / self.substeps


@dataclasses.dataclass(frozen=True)
class PdeState(State):
    """A field at an instant."""

    field: Tensor
    """u `[B, *shape]`."""
    previous: Tensor
    """u a substep ago `[B, *shape]` for leapfrog; `[B, 0]` for the other schemes."""
    time: Tensor
    """`[B]` [s]."""


@dataclasses.dataclass(frozen=True)
class PdeControl(Control):
    """What acts during a step, constant over it."""

    source: Tensor
    """Added to the right-hand side: `[B, *shape]`, or with 1 in place of axes along which it is the same."""


class PdeSolver(Solver[PdeModel, PdeState, PdeControl]):
    """Steps of a scalar equation on a grid.

    Explicit steps are compositions of differentiable operators. Implicit ones are solved by Newton's method, and differentiated by the implicit
    function theorem (`implicit.py`). An explicit step longer than the equation's `stable_dt` ends as `TOO_FAST`.

    Args:
        model: equation and scheme.
    """

    capabilities = Capabilities(
        dimensions=(1, 2, 3),
        materials=("heat", "advection_diffusion", "burgers", "allen_cahn", "fisher_kolmogorov", "diffusion_sorption", "wave", "custom"),
        contact=("periodic", "dirichlet", "neumann", "robin", "mask"),
        differentiable=("field", "previous", "source", "diffusivity", "conductivity", "growth", "time_scale", "velocity", "viscosity", "speed",
                        "porosity", "density", "freundlich", "exponent", "boundary_value"),
    )  # fmt: skip

    def __init__(self, model: PdeModel) -> None:
        super().__init__(model)
        self._linearise = None
        if model.scheme == "theta":
            self._linearise = linearizer(model.equation, model.linear, 1 / model.span, model.theta)

    def initial_state(self, field: Tensor, velocity: Tensor | None = None, time: float = 0.0) -> PdeState:
        """The state from which steps start.

        Args:
            field: u `[B, *shape]`; its dtype and device are those of all that follows. Outside the mask it is set to zero.
            velocity: du/dt `[B, *shape]` for leapfrog, by default zero.
            time: [s].

        Raises:
            ShapeError: if a tensor is of another shape, or not of real numbers.
            ModelError: if it is not finite, or an explicit step is too long for it; the message says how long it may be.
        """
        domain, leapfrog = self.model.equation.domain, self.model.scheme == "leapfrog"
        for name, x in (("The field", field), ("The velocity", velocity)):
            if x is None:
                continue
            domain.check(name, x)
            if x.ndim != domain.grid.dimension + 1 or x.shape != field.shape or x.dtype != field.dtype:
                raise ShapeError(
                    f"{name} is {x.dtype} {tuple(x.shape)}; it must be [B, *{domain.grid.shape}], and field and velocity alike."
                )
            if not bool(torch.isfinite(x).all()):
                raise ModelError(f"{name} is not finite.")
        if velocity is not None and not leapfrog:
            raise ModelError(f"The scheme {self.model.scheme!r} knows no velocity; leave it out.")
        field = domain.inside_only(field)
        allowed = self._allowed(field)
        if allowed is not None and bool((self.model.span > allowed).any()):
            raise ModelError(
                f"A step of {self.model.span:.4g} s is unstable; {self.model.scheme} allows {float(allowed.min()):.4g} s here. "
                f"Use substeps={math.ceil(self.model.dt / float(allowed.min()))}" + (" or scheme='theta'." if not leapfrog else ".")
            )
        previous = field.new_zeros(len(field), 0)
        if leapfrog:
            rate = torch.zeros_like(field) if velocity is None else velocity
            # The level before the first step, so that leapfrog's first step is of second order too.
            previous = self.model.equation.first_step(field, -rate, self.model.span, time)  # type: ignore[union-attr]
            previous = domain.inside_only(previous)
        status = torch.zeros(len(field), dtype=torch.int32, device=field.device)
        return PdeState(status, field, previous, torch.full((len(field),), float(time), dtype=field.dtype, device=field.device))

    @override
    def rest_control(self, batch: int) -> PdeControl:
        return PdeControl(torch.zeros(batch, *[1] * self.model.equation.domain.grid.dimension))

    @override
    def step(self, state: PdeState, control: PdeControl) -> PdeState:
        source = self._source(state, control)
        for _ in range(self.model.substeps):
            state = keep_failed(state, self._substep(state, source))
            if not bool(state.ok.any()):
                break
        return state

    def _source(self, state: PdeState, control: PdeControl) -> Tensor:
        """The control's source in the dtype of the state; of a failed environment it no longer matters."""
        grid, source = self.model.equation.domain.grid, control.source
        fits = source.ndim == grid.dimension + 1 and all(n in (1, m) for n, m in zip(source.shape[1:], grid.shape, strict=True))
        if not fits or len(source) != state.batch:
            raise ShapeError(
                f"The source has shape {tuple(source.shape)}; it must be [{state.batch}, *{grid.shape}], or have 1 in place of axes."
            )
        return source.to(state.field)

    def _allowed(self, field: Tensor) -> Tensor | None:
        """The longest explicit substep from `field` `[B]` [s]; None where nothing limits it."""
        if self.model.scheme == "theta":
            return None
        with torch.no_grad():
            allowed = self.model.equation.stable_dt(field.detach())
        return None if allowed is None else allowed * (1 + 1e-6)

    def _substep(self, state: PdeState, source: Tensor) -> PdeState:
        model, equation, u, running = self.model, self.model.equation, state.field, state.ok
        status, span = state.status, self.model.span
        time = state.time.view(-1, *[1] * (u.ndim - 1))
        previous = state.previous
        if isinstance(equation, Oscillation):
            new, previous = 2 * u - state.previous + span**2 * self._rate(u, time, source), u
        elif model.scheme == "theta":
            assert self._linearise is not None
            newton = Newton(self._linearise, model.tolerance, model.max_iterations)
            new, outcome = implicit_solve(lambda x: equation.residual(x, u, span, time, model.theta, source), u, newton)
            status = torch.where(running, outcome, status)
        elif model.scheme == "euler":
            new = u + span * self._rate(u, time, source)
        else:
            one = u + span * self._rate(u, time, source)
            two = 0.75 * u + 0.25 * (one + span * self._rate(one, time + span, source))
            new = u / 3 + (2 / 3) * (two + span * self._rate(two, time + span / 2, source))
        if model.scheme != "theta":
            allowed = self._allowed(u)
            if allowed is not None:
                status = torch.where(running & ~(span <= allowed), int(Outcome.TOO_FAST), status)
        finite = torch.isfinite(new.detach().reshape(len(new), -1)).all(1)
        status = torch.where(running & (status == Outcome.OK) & ~finite, int(Outcome.NOT_FINITE), status).to(torch.int32)
        return PdeState(status, new, previous, state.time + span)

    def _rate(self, u: Tensor, time: Tensor, source: Tensor) -> Tensor:
        rate = self.model.equation.rhs(u, time) + source
        return self.model.equation.domain.inside_only(rate)


def solve_steady(
    equation: Steady, guess: Tensor, *, linear: Method = "auto", tolerance: float | None = None, max_iterations: int = 50
) -> tuple[Tensor, Tensor]:
    """The field that solves a steady equation, by Newton's method; differentiable once in the equation's parameters and boundary values.

    Args:
        equation: of which `residual` is driven to zero.
        guess: where to start `[B, *shape]`; it gives dtype and batch.
        linear: see `linear.linearizer`.
        tolerance: see `implicit.Newton`.
        max_iterations: of Newton's method.

    Returns:
        The field, and the outcome of every environment, int32 `[B]`.

    Raises:
        ModelError: if the guess is not finite, or nothing fixes the level of u.
    """
    equation.domain.check("The guess", guess)
    if not bool(torch.isfinite(guess).all()):
        raise ModelError("The guess is not finite.")
    with torch.no_grad():
        draw = torch.Generator().manual_seed(11)
        rough = torch.rand(guess.shape, generator=draw, dtype=torch.float64).to(guess)
        zero = equation.residual(guess)
        by_level, by_rough = (equation.domain.inside_only(equation.residual(guess + x) - zero).abs().max() for x in (1.0, rough))
        if equation.domain.floating and bool(by_level <= (1e-6 if guess.dtype == torch.float32 else 1e-13) * by_rough):
            raise ModelError(
                f"Nothing fixes the level of u in {type(equation).__name__}, so that its solution is not unique; give a side a Dirichlet or\n"
                "Robin condition, or use `solve_elliptic`, which takes the one whose mean is zero."
            )
    return implicit_solve(equation.residual, guess, Newton(linearizer(equation, linear), tolerance, max_iterations))
