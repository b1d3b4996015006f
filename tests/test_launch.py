"""Kernels that are launched past Taichi's checks: the same bits as with them."""

import pytest
import torch

from pliant.sim.launch import light
from pliant.sim.runtime import start, taichi

start()
ti = taichi()
A = ti.types.ndarray


@ti.kernel
def plain(
    x: A(dtype=ti.f64, ndim=2),
    ids: A(dtype=ti.i64, ndim=1),
    kind: ti.template(),
    factor: ti.f64,
    shift: ti.i32,
    out: A(dtype=ti.f64, ndim=1),
):
    for n in range(out.shape[0]):
        value = x[ids[n], 0] * factor + shift
        if ti.static(kind == "square"):
            value *= value
        out[n] = value


def inputs(count, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, generator=draw, dtype=torch.float64), torch.randperm(count, generator=draw)


def test_every_call_gives_the_bits_of_taichis_own():
    kernel = light(plain)
    for count, kind, factor, shift in (
        (5, "line", 0.3, 1),
        (5, "square", 0.3, 1),
        (9, "line", -1.7, -4),
        (1, "square", 2.5, 0),
        (4, "line", 2, 3),
    ):
        for seed in range(2):  # the first call of a kind is Taichi's, later ones are not
            x, ids = inputs(count, seed)
            out, wanted = (torch.empty(count, dtype=torch.float64) for _ in range(2))
            kernel(x, ids, kind, factor, shift, out)
            plain(x, ids, kind, factor, shift, wanted)
            assert torch.equal(out, wanted)
            value = x[ids, 0] * factor + shift
            torch.testing.assert_close(out, value**2 if kind == "square" else value)


def test_a_view_that_is_not_contiguous_is_refused_as_taichi_refuses_it():
    kernel = light(plain)
    x, ids = inputs(4)
    out = torch.empty(4, dtype=torch.float64)
    for _ in range(2):
        with pytest.raises(ValueError, match="contiguous"):
            kernel(x.mT.contiguous().mT, ids, "line", 1.0, 0, out)
        kernel(x, ids, "line", 1.0, 0, out)


def test_another_number_of_arguments_is_refused():
    kernel = light(plain)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        kernel(*inputs(4))
