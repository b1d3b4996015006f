"""The sparse matrices of the implicit solver against dense ones."""

import numpy as np
import pytest

from pliant.sim.solid.assembly import Assembly, Growing, Triplets


def scene(random):
    """Blocks over some of nine unknowns, two of which are not free, and what they add up to."""
    free = np.ones(9, dtype=bool)
    free[[2, 7]] = False
    pattern = np.array([[0, 1, 2], [3, 4, -1], [4, 5, 8]])
    root = random.normal(size=(3, 3, 3))
    blocks = root @ root.transpose(0, 2, 1) + 2 * np.eye(3)
    dense = np.eye(9)
    for places, block in zip(pattern, blocks, strict=True):
        used = places >= 0
        dense[np.ix_(places[used], places[used])] += block[np.ix_(used, used)]
    return free, [pattern, np.arange(9)[:, None]], [blocks, np.ones((9, 1, 1))], dense


def triplets(dense):
    """A matrix as triplets, its entries in two halves."""
    rows, columns = np.nonzero(dense)
    halves = dense[rows, columns] / 2
    return Triplets(np.tile(rows, 2), np.tile(columns, 2), np.tile(halves, 2))


def symmetric(places, random):
    """A matrix [9, 9] that couples pairs of unknowns."""
    dense = np.zeros((9, 9))
    for a, b in places:
        dense[a, b] = dense[b, a] = 0.3 * random.normal()
    return dense


def test_the_pattern_grows_by_what_touches_and_the_matrix_is_the_sum():
    random = np.random.default_rng(0)
    free, patterns, blocks, dense = scene(random)
    growing, reduced = Growing(Assembly(free, patterns)), np.ix_(free, free)
    for places in ([(0, 8), (1, 6)], [(0, 8)], [(3, 5), (1, 6), (0, 2)], [(6, 6)]):
        touching = symmetric(places, random)
        pattern, values = growing.matrix(blocks, [triplets(touching)])
        assert np.all(np.diff(pattern.keys) > 0)
        low = pattern.lower(values).toarray()
        np.testing.assert_allclose(low, np.tril((dense + touching)[reduced]), atol=1e-14)
    assert len(pattern.keys) == len(growing._assembly.pattern.keys) + 3  # (0, 8), (1, 6), (3, 5); no unknown 2


@pytest.mark.parametrize("friction", [[], [(0, 8)], [(8, 0), (1, 6), (4, 4), (6, 1)]])
def test_what_is_not_symmetric_is_factored_with_the_rest(friction):
    random = np.random.default_rng(1)
    free, patterns, blocks, dense = scene(random)
    growing, reduced = Growing(Assembly(free, patterns)), np.ix_(free, free)
    extra = np.zeros((9, 9))
    for a, b in friction:
        extra[a, b] = random.normal()
    more = triplets(extra) if friction else Triplets(*(np.empty(0, dtype=kind) for kind in (np.int64, np.int64, float)))
    places = Triplets(more.rows, more.columns, 0 * more.values)
    pattern, values = growing.matrix(blocks, [places, places.transposed()])
    whole, right = (dense + extra)[reduced], random.normal(size=7)
    for _ in range(2):  # analysed, and again with the analysis kept
        factor = pattern.lu(values, growing._assembly.reduced(more))
        np.testing.assert_allclose(factor.solve(right), np.linalg.solve(whole, right), rtol=1e-10)
        np.testing.assert_allclose(factor.solve_transpose(right), np.linalg.solve(whole.T, right), rtol=1e-10)
