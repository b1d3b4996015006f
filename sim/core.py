"""The contract of a solver: Model, State, Control, Solver, Outcome.

A state is a frozen dataclass of torch tensors whose first axis is the batch of independent environments `[B, ...]`.
`Solver.step` is a torch operation on it: it never mutates its inputs, and autograd differentiates it.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor
from typing_extensions import Self

from ..errors import FileFormatError, ShapeError
from ..storage import load_arrays, save_arrays


class Outcome(IntEnum):
    """What became of an environment. Anything but OK freezes it: later steps return it unchanged, with its mark."""

    OK = 0
    NOT_FINITE = 1
    """A NaN or an infinity appeared."""
    NOT_CONVERGED = 2
    """An implicit step did not reach its tolerance."""
    OUT_OF_DOMAIN = 3
    """Something left the simulated box."""
    TOO_FAST = 4
    """Something moved further in a substep than the time step allows (CFL)."""
    OVERLOADED = 5
    """The force on a gripper exceeded what the task allows; no solver sets it, see `Task.advance`."""


@dataclasses.dataclass(frozen=True)
class TensorRecord:
    """A frozen dataclass whose fields are all tensors `[B, ...]` with the same batch size B.

    Raises:
        ShapeError: if a field is no tensor, has no batch axis, or the batch sizes differ.
    """

    def __post_init__(self) -> None:
        sizes = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, Tensor) or value.ndim == 0:
                raise ShapeError(f"{type(self).__name__}.{field.name} must be a tensor with a leading batch axis.")
            sizes[field.name] = value.shape[0]
        if len(set(sizes.values())) > 1:
            raise ShapeError(f"{type(self).__name__}: the batch sizes differ: {sizes}.")

    @property
    def batch(self) -> int:
        """The number of environments B."""
        return int(self.tensors()[0].shape[0])

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of the fields, in the order of `tensors()`."""
        return tuple(field.name for field in dataclasses.fields(cls))

    def tensors(self) -> tuple[Tensor, ...]:
        """The fields in order."""
        return tuple(getattr(self, name) for name in self.names())

    def floats(self) -> dict[str, Tensor]:
        """The fields of real numbers by name, which are those that carry derivatives."""
        return {name: tensor for name, tensor in zip(self.names(), self.tensors(), strict=True) if tensor.is_floating_point()}

    def replace(self, **changes: Tensor) -> Self:
        """A copy with some fields exchanged."""
        return dataclasses.replace(self, **changes)

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """A record of `function(field)` for every field."""
        return type(self)(*(function(tensor) for tensor in self.tensors()))

    def detach(self) -> Self:
        """The same values, cut from the graph."""
        return self.map(Tensor.detach)

    def clone(self) -> Self:
        """A copy of every tensor."""
        return self.map(Tensor.clone)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Self:
        """The environments that `index` selects; an integer keeps a batch axis of 1."""
        if isinstance(index, int):
            if not -self.batch <= index < self.batch:  # also what ends a for-loop over the environments
                raise IndexError(f"environment {index} of a batch of {self.batch}")
            index = [index]
        chosen = index if isinstance(index, slice | Tensor) else torch.as_tensor(index)
        return self.map(lambda tensor: tensor[chosen])

    @classmethod
    def cat(cls, records: Sequence[Self]) -> Self:
        """One batch of all environments of `records`, in order."""
        if not records:
            raise ShapeError(f"{cls.__name__}.cat needs at least one record.")
        return cls(*(torch.cat(parts) for parts in zip(*(record.tensors() for record in records), strict=True)))

    def repeat(self, count: int) -> Self:
        """`count` copies of every environment, each environment's copies side by side."""
        return self.map(lambda tensor: tensor.repeat_interleave(count, 0))

    def where(self, mask: Tensor, other: Self) -> Self:
        """This record in the environments where `mask` `[B]` is true, `other` elsewhere."""
        pairs = zip(self.tensors(), other.tensors(), strict=True)
        return type(self)(*(torch.where(mask.view(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs))

    def save(self, path: str | Path) -> None:
        """Writes the record to an `.npz` file, without pickle; an existing file is replaced only once the new one is whole."""
        save_arrays(path, type(self).__name__, {n: t.detach().cpu().numpy() for n, t in zip(self.names(), self.tensors(), strict=True)})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            FileFormatError: if the file is damaged, foreign, or holds another kind of record.
        """
        arrays = load_arrays(path, cls.__name__, cls.names())
        try:
            return cls(*(torch.from_numpy(arrays[name]) for name in cls.names()))
        except (TypeError, ShapeError) as error:
            raise FileFormatError(f"{path} is damaged: {error}") from error


@dataclasses.dataclass(frozen=True)
class State(TensorRecord):
    """What a solver advances. Every subclass has the field `status`, int32 `[B]`, of `Outcome` values."""

    status: Tensor

    @property
    def ok(self) -> Tensor:
        """Which environments still run, bool `[B]`."""
        return self.status == Outcome.OK

    def outcomes(self) -> list[Outcome]:
        """The outcome of every environment."""
        return [Outcome(value) for value in self.status.tolist()]


@dataclasses.dataclass(frozen=True)
class Control(TensorRecord):
    """What acts during one step: velocities, inflow, forces, as tensors `[B, ...]`."""


@dataclasses.dataclass(frozen=True)
class Capabilities:
    """What a solver can do; `pliant info` and the table in the README are made from it, and a test runs each claim."""

    dimensions: tuple[int, ...]
    materials: tuple[str, ...]
    contact: tuple[str, ...]
    differentiable: tuple[str, ...]
    """State, controls and parameters that a step has derivatives with respect to."""
    dtypes: tuple[str, ...] = ("float32", "float64")
    backends: tuple[str, ...] = ("cpu",)
    batched: bool = True


ModelT = TypeVar("ModelT")
StateT = TypeVar("StateT", bound=State)
ControlT = TypeVar("ControlT", bound=Control)


class Solver(ABC, Generic[ModelT, StateT, ControlT]):
    """Physics of one kind: advances a state by one control step.

    Args:
        model: immutable scene description; its tensors fix dtype and device, and those that require gradients get them.
    """

    capabilities: ClassVar[Capabilities]

    def __init__(self, model: ModelT) -> None:
        self.model = model

    @abstractmethod
    def step(self, state: StateT, control: ControlT) -> StateT:
        """The state one control step later; differentiable in state, control and the model's parameters."""

    @abstractmethod
    def rest_control(self, batch: int) -> ControlT:
        """The control of `batch` environments in which nothing acts."""


def keep_failed(old: StateT, new: StateT) -> StateT:
    """`new`, except that environments whose `new.status` is not OK keep their old state and carry the mark."""
    if bool(new.ok.all()):
        return new
    return new.where(new.ok, old).replace(status=new.status)  # type: ignore[arg-type]


def same_shape(name: str, tensor: Any, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """`tensor`, after checking that it has `shape`, and the dtype and device of `like`.

    Raises:
        ShapeError: naming the tensor, what it is, and what it should be.
    """
    if not isinstance(tensor, Tensor):
        raise ShapeError(f"{name} must be a torch tensor of shape {shape}, not {type(tensor).__name__}.")
    if tuple(tensor.shape) != shape:
        raise ShapeError(f"{name} has shape {tuple(tensor.shape)}; it must be {shape}.")
    if tensor.dtype != like.dtype or tensor.device != like.device:
        raise ShapeError(f"{name} is {tensor.dtype} on {tensor.device}; the model wants {like.dtype} on {like.device}.")
    return tensor
