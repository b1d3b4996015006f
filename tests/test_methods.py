"""MPPI, the hybrid, budgets in simulations, and several seeds in one batch."""

import numpy as np
import pytest
import torch
from test_easing import Reaching
from test_optimize import ALL, Function, bowl, same_runs, wave

from pliant.errors import FileFormatError
from pliant.optim.trajectory import Easing, optimize
from pliant.optim.trajectory.cma_es import CmaEs, CmaOptions
from pliant.optim.trajectory.hybrid import DESCEND, SAMPLE, Hybrid, HybridOptions
from pliant.optim.trajectory.knots import ActionSpace, weights
from pliant.optim.trajectory.mppi import Mppi, MppiOptions, path_weights
from pliant.optim.trajectory.objective import Problem


def problem(objective, knots=None, seed=0):
    steps, width = objective.shape
    lower, upper = objective.lower.numpy(), objective.upper.numpy()
    space = ActionSpace(lower, upper, np.zeros((steps, width)), weights(steps, knots))
    return Problem(objective, space, space.initial, seed)


# Knots


def test_constant_knots_are_segments_of_about_equal_length():
    matrix = weights(10, 4, "constant")
    assert (matrix @ np.arange(4.0)).tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]


# MPPI


def test_weights_are_those_of_the_information_theoretic_average():
    losses = np.array([3.0, 1.0, np.inf, 2.0, 1.5])
    shares = path_weights(losses, 0.5)
    expected = np.exp(-np.array([4.0, 0.0, np.inf, 2.0, 1.0]))
    assert shares == pytest.approx(expected / expected.sum(), rel=1e-14)
    assert shares[2] == 0


def test_the_temperature_follows_the_spread():
    losses = np.random.default_rng(0).uniform(size=15)
    shares = path_weights(losses)
    assert shares[np.argsort(losses)[7]] == pytest.approx(shares.max() * np.exp(-3))
    assert path_weights(7 + 1e6 * losses) == pytest.approx(shares, rel=1e-6)


def test_where_most_are_equally_good_they_share():
    assert path_weights(np.array([2.0, 1.0, 1.0, 1.0, np.inf])).tolist() == [0, 1 / 3, 1 / 3, 1 / 3, 0]
    assert path_weights(np.array([np.inf, 5.0])).tolist() == [0, 1]


def test_the_mean_is_the_weighted_mean_of_what_was_evaluated():
    seen = []
    objective = Function(lambda actions: (seen.append(actions), ((actions - 2) ** 2).mean((1, 2)))[1], (3, 2))
    method = Mppi(problem(objective), MppiOptions(sigma=1.0, population=40, decay=0.5))
    method.advance(1)
    (population,) = seen
    knots = (population.numpy() + 1) / 2
    assert (knots[0] == 0.5).all()
    assert (knots == 1).any()  # projected
    shares = path_weights(((population - 2) ** 2).mean((1, 2)).numpy())
    assert method.mean == pytest.approx(np.tensordot(shares, knots, 1))
    assert method.sigma == 0.5


def test_mppi_solves_a_quadratic_up_to_what_its_noise_leaves():
    result = optimize(bowl((5, 2)), "mppi", iterations=600)
    assert result.loss < 1e-6


def test_a_population_without_a_good_one_shrinks():
    objective = bowl((4, 1), bad=lambda actions: torch.ones(len(actions), dtype=torch.bool))
    method = Mppi(problem(objective), MppiOptions(sigma=0.4, decay=0.9))
    trial = method.advance(1)
    assert (trial.loss, trial.skipped, trial.evaluations, method.sigma) == (np.inf, 16, 16, 0.2)
    assert (method.mean == 0.5).all()
    everywhere = optimize(objective, "mppi", iterations=10**4)
    assert everywhere.converged


# Budgets in simulations


@pytest.mark.parametrize("easing", [Easing(), Easing(expand_from=0.5, expand_after=1, soften=2.0, soften_over=5)])
@pytest.mark.parametrize("method", ALL)
def test_no_run_costs_more_than_its_simulations_and_all_count_alike(method, easing, tmp_path):
    objective = Reaching()
    result = optimize(objective, method, simulations=150, easing=easing)
    cost = sum((4 if gradient else 1) * batch * steps / 12 for steps, _, batch, gradient in objective.seen)
    assert result.history["simulations"][-1] == pytest.approx(cost)
    assert 150 - 18 < cost <= 150
    assert not result.converged
    optimize(Reaching(), method, simulations=70, easing=easing, folder=tmp_path)
    same_runs(optimize(Reaching(), method, simulations=150, easing=easing, folder=tmp_path, resume=True), result)
    assert optimize(Reaching(), method, simulations=0, easing=easing).iterations == 0


def test_an_objective_says_what_its_gradients_cost():
    objective = bowl()
    objective.gradient_cost = 2.5
    result = optimize(objective, "adam", simulations=10)
    assert result.history["simulations"].tolist() == [2.5, 5.0, 7.5, 10.0]


def test_a_file_that_does_not_count_simulations_is_refused(tmp_path):
    optimize(bowl(), iterations=2, folder=tmp_path)
    path = tmp_path / "progress.npz"
    with np.load(path) as file:
        arrays = {name: array for name, array in file.items() if name != "history_simulations"}
    np.savez(path, **arrays)
    with pytest.raises(FileFormatError, match="older version"):
        optimize(bowl(), iterations=4, folder=tmp_path, resume=True)


# The hybrid


def test_what_is_injected_is_evaluated_and_the_state_replays_it():
    seen = []
    objective = Function(lambda actions: (seen.append(actions), ((actions - 0.3) ** 2).mean((1, 2)))[1], (4, 1))
    method = CmaEs(problem(objective), CmaOptions())
    method.advance(1)
    wanted = np.array([[0.0], [0.25], [1.0], [0.65]])
    method.inject(wanted)
    method.advance(2)
    assert (seen[-1].numpy() + 1) / 2 == pytest.approx(np.concatenate([wanted[None], (seen[-1][1:].numpy() + 1) / 2]), abs=1e-12)
    method.inject(wanted)  # waits for the next population
    other = CmaEs(problem(objective), CmaOptions())
    other.restore(method.state())
    for each in (method, other):
        each.advance(3)
    assert torch.equal(seen[-1], seen[-2])


def turns(objective, iterations, **options):
    method, seen = Hybrid(problem(objective), HybridOptions(**options)), []
    trials = [method.start()]
    for iteration in range(1, iterations + 1):
        trials.append(method.advance(iteration))
        seen.append(method.turn)
    return method, trials, seen


def test_the_arm_with_the_better_rate_goes_on_and_the_other_is_tried_now_and_then():
    _, trials, seen = turns(bowl((24, 2), 0.5 * (-1.0) ** torch.arange(24, dtype=torch.float64)[:, None].expand(24, 2)), 60)
    slices = [len(list(part)) for part in np.split(seen, np.flatnonzero(np.diff(seen)) + 1)]
    assert seen[0] == DESCEND
    assert seen.count(DESCEND) > 0.7 * len(seen)  # CMA-ES cannot express the target
    assert seen.count(SAMPLE) >= 3
    assert all(trial.gradients == (turn == DESCEND) for trial, turn in zip(trials[1:], seen, strict=True))
    assert slices[0] % 2 == 0  # two gradients cost as much as a population
    assert slices[1] == 1


def test_the_parametrisations_share_the_best():
    """What Adam finds CMA-ES samples around, and what CMA-ES finds Adam starts from."""
    seen, caught = [], rippled(40)
    objective = Function(lambda actions: (seen.append(actions.detach()), caught(actions).loss)[1], (40, 1))
    method, trials, arms = turns(objective, 40)
    assert len(method.matrix.T) == 16
    best, handed = trials[0], {SAMPLE: 0, DESCEND: 0}
    for number, (trial, arm) in enumerate(zip(trials[1:], arms, strict=True), 1):
        if number > 1 and arm != arms[number - 2]:
            place = torch.as_tensor(method.problem.space.actions(best.knots))
            first = seen[number][0]
            if arm == SAMPLE:
                handed[arm] += torch.allclose(first, place, atol=1e-9)
            else:
                handed[arm] += torch.equal(first, place)
        best = trial if trial.loss < best.loss else best
    assert min(handed.values()) >= 1


def detached(actions):
    return ((actions.detach() - 0.2) ** 2).mean((1, 2))


def steep(actions):
    """A fine loss whose gradient is NaN everywhere."""
    return ((actions - 0.2) ** 2).mean((1, 2)) + torch.sqrt(0 * actions).sum((1, 2))


@pytest.mark.parametrize(("loss", "lost"), [(detached, 1), (steep, 4)])
def test_without_a_finite_gradient_cma_goes_on_alone(loss, lost, tmp_path):
    objective = Function(loss, (6, 1))
    result = optimize(objective, "hybrid", iterations=150)
    assert result.loss < 1e-8
    assert sum(objective.gradients) == result.history["skipped"][-1] == lost
    assert np.isnan(result.history["gradient_norm"]).all()
    for iterations in (3, 20, 150):
        part = optimize(Function(loss, (6, 1)), "hybrid", iterations=iterations, folder=tmp_path, resume=iterations > 3)
    same_runs(part, result)
    assert optimize(Function(loss, (2, 1)), "hybrid", iterations=10**6).converged


def test_the_hybrid_clips_gradients_only_on_request_and_counts_them():
    free = optimize(bowl(), "hybrid", iterations=12)
    held = optimize(bowl(), "hybrid", iterations=12, max_gradient_norm=1e-6)
    assert free.history["clipped"][-1] == 0
    assert 0 < held.history["clipped"][-1] == np.isfinite(held.history["gradient_norm"]).sum()


def rippled(steps=24):
    """A bowl over the mean action whose ripples catch gradients, and a zigzag of single steps that a few knots cannot express."""
    zigzag = 0.1 * (-1.0) ** torch.arange(steps, dtype=torch.float64)[:, None]

    def loss(actions):
        mean = actions.mean(1, keepdim=True)
        ripples = (mean - 0.6) ** 2 + 0.1 * (1 - torch.cos(6 * np.pi * (mean - 0.6)))
        return ripples.mean((1, 2)) + ((actions - mean - zigzag) ** 2).mean((1, 2))

    return Function(loss, (steps, 1))


def two_basins(steps=24):
    """Two basins of the mean action: a wide one, into which the start slopes, and a deep one beyond the ridge; and the zigzag."""
    zigzag = 0.1 * (-1.0) ** torch.arange(steps, dtype=torch.float64)[:, None]

    def loss(actions):
        mean = actions.mean((1, 2))
        rest = ((actions - mean[:, None, None] - zigzag) ** 2).mean((1, 2))
        return torch.minimum(0.3 + (mean + 0.3) ** 2, 3 * (mean - 0.45) ** 2) + rest

    return Function(loss, (steps, 1))


def stiff(shape=(60, 2)):
    """Of 120 numbers, with a condition of about 10^4: distance from a curve with fine waves, and the square of its second differences."""
    curve = wave(shape) + 0.1 * torch.sin(2.5 * torch.arange(shape[0], dtype=torch.float64))[:, None]

    def loss(actions):
        away = actions - curve
        return (away**2).mean((1, 2)) + 1000 * ((away[:, 2:] - 2 * away[:, 1:-1] + away[:, :-2]) ** 2).mean((1, 2))

    return Function(loss, shape)


def median(make, method, simulations, **more):
    losses = []
    for seed in range(3):
        objective = make()
        losses.append(optimize(objective, method, simulations=simulations, seed=seed, **more).loss)
        assert sum(objective.batches) + 3 * sum(objective.gradients) <= simulations
    return float(np.median(losses))


def test_where_gradients_are_caught_the_hybrid_beats_adam_at_equal_simulations():
    hybrid = median(rippled, "hybrid", 240)
    assert hybrid < 0.5 * median(rippled, "adam", 240)
    assert hybrid < median(rippled, "cma", 240)  # which cannot express the zigzag


def test_where_gradients_lead_into_a_wide_basin_the_hybrid_is_as_good_as_adam():
    """It looks around only once Adam has slowed down, and by then is too far from the deep basin: the price of small budgets."""
    assert median(two_basins, "hybrid", 240) <= 1.001 * median(two_basins, "adam", 240)


@pytest.mark.parametrize("make", [stiff, lambda: bowl((60, 2))])
def test_where_there_are_many_unknowns_the_hybrid_beats_cma_at_equal_simulations(make):
    hybrid = median(make, "hybrid", 240)
    assert hybrid < 0.1 * median(make, "cma", 240)
    assert hybrid < 0.1 * median(make, "cma", 240, knots=60)
