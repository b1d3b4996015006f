"""The Taichi types that the kernels of a dimension and a precision share."""

from functools import cache
from typing import Any, NamedTuple

from ..runtime import taichi

ti = taichi()


class Types(NamedTuple):
    """Vectors and matrices by what they hold."""

    V: Any
    """A place or velocity [D]."""
    VA: Any
    """An angular velocity, 1 or 3 numbers."""
    VM: Any
    """Momentum and mass of a node, or samples of a tool [D + 1]."""
    VP: Any
    """The parameters of a law."""
    V2: Any
    """Friction and softness of a tool."""
    W: Any
    """A number for each wall [2 D]."""
    M: Any
    """A matrix [D, D]."""
    IV: Any
    """A node [D]."""


@cache
def types(dim: int, real: Any, width: int) -> Types:
    """The types for `dim` dimensions, f32 or f64, and laws of `width` parameters."""
    return Types(
        V=ti.types.vector(dim, real),
        VA=ti.types.vector(1 if dim == 2 else 3, real),
        VM=ti.types.vector(dim + 1, real),
        VP=ti.types.vector(width, real),
        V2=ti.types.vector(2, real),
        W=ti.types.vector(2 * dim, real),
        M=ti.types.matrix(dim, dim, real),
        IV=ti.types.vector(dim, ti.i32),
    )
