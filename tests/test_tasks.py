"""Every task of pliant, whatever it is about: the checkers of Gymnasium and stable-baselines3, and the gradient of the loss."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from pliant.app.results import RunFolder
from pliant.envs import make_task, task_names
from pliant.envs.gym_env import TaskEnv
from pliant.envs.objective import task_objective
from pliant.envs.registry import TASKS as TASK_ENTRIES
from pliant.envs.vector_env import TaskVectorEnv
from pliant.errors import FileFormatError, MeshError, ModelError, UnknownNameError
from pliant.optim.trajectory import optimize

TASKS = [name for name in task_names() if name.startswith("pliant/") and ".shells." not in TASK_ENTRIES[name]]  # those: test_shell_tasks.py
SHORT = {"horizon": 4, "observed": 8}


@pytest.mark.parametrize("name", TASKS)
def test_gymnasiums_checker_accepts_it(name):
    env = gymnasium.make(name, disable_env_checker=True, **SHORT).unwrapped
    check_env(env, skip_render_check=True)


@pytest.mark.parametrize("name", TASKS)
def test_stable_baselines3s_checker_accepts_it(name):
    checker = pytest.importorskip("stable_baselines3.common.env_checker", reason="stable-baselines3 is in the extra `rl`")
    checker.check_env(TaskEnv(name, **SHORT), skip_render_check=True)


@pytest.mark.parametrize("name", TASKS)
def test_it_shows_a_picture(name):
    env = TaskEnv(name, render_mode="rgb_array", image_size=(96, 72), **SHORT)
    env.reset(seed=0)
    picture = env.render()
    assert picture.shape == (72, 96, 3)
    assert picture.std() > 5


@pytest.mark.parametrize("name", TASKS)
def test_a_vector_of_environments_gives_the_bits_of_single_ones(name):
    vector = TaskVectorEnv(name, num_envs=2, **SHORT)
    singles = [TaskEnv(name, **SHORT) for _ in range(2)]
    seen, _ = vector.reset(seed=[3, 4])
    assert np.array_equal(seen, np.stack([env.reset(seed=seed)[0] for env, seed in zip(singles, (3, 4), strict=True)]))
    draw = np.random.default_rng(0)
    for _ in range(3):
        action = draw.uniform(-1, 1, vector.action_space.shape).astype(np.float32)
        together = vector.step(action)
        alone = [env.step(row) for env, row in zip(singles, action, strict=True)]
        for part in range(4):
            assert np.array_equal(together[part], np.stack([result[part] for result in alone]))


@pytest.mark.parametrize("name", TASKS)
def test_the_same_seed_gives_the_same_bits_and_another_one_others(name):
    task = make_task(name, **SHORT)
    actions = task.initial_actions()[None]
    first, again, other = (task.rollout(actions, seed=seed).loss for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", TASKS)
def test_the_gradient_of_the_loss_agrees_with_central_differences(name):
    """In eight random directions at once, through the whole of a short episode with tools in contact, in f64."""
    task = make_task(name, dtype="float64", horizon=3, observed=8)
    draw = torch.Generator().manual_seed(0)
    start = 0.5 * (2 * torch.rand(1, 3, *task.action_space.shape, dtype=torch.float64, generator=draw) - 1)
    start[..., 2] -= 0.4  # down, into the matter
    actions = start.clone().requires_grad_()
    (grad,) = torch.autograd.grad(task.rollout(actions).loss.sum(), actions)
    directions = torch.randn(8, *start.shape[1:], dtype=torch.float64, generator=draw)
    step = 1e-6
    with torch.no_grad():
        ends = task.rollout(torch.cat([start + step * directions, start - step * directions]))
    assert bool(ends.ok.all())
    expected = (ends.loss[:8] - ends.loss[8:]) / (2 * step)
    found = (directions * grad).flatten(1).sum(1)
    errors = (found - expected).abs() / expected.abs().max()
    assert float(errors.max()) < 1e-4, errors


@pytest.mark.parametrize("name", TASKS)
def test_a_few_iterations_of_adam_lower_the_loss(name):
    task = make_task(name, horizon=12, observed=8)
    result = optimize(task_objective(task), "adam", iterations=4, initial=task.initial_actions(), learning_rate=0.05)
    assert result.loss < float(result.history["loss"][0])


@pytest.mark.parametrize("name", TASKS)
def test_the_rewards_of_an_episode_sum_to_what_the_cost_fell_by(name):
    """Loss and reward measure the same."""
    task = make_task(name, **SHORT)
    state = task.initial_state(1, 0)
    first, total = task.cost(state), 0.0
    for action in task.initial_actions():
        following = task.step(state, action[None])
        total = total + task.reward(state, action[None], following)
        state = following
    assert float(total) == pytest.approx(task.reward_scale * float(first - task.cost(state)), abs=1e-3)


@pytest.mark.parametrize("name", TASKS)
def test_the_domain_randomiser_changes_the_scene(name):
    task = make_task(name, **SHORT)
    assert task.randomized(1).settings != task.settings
    assert task.randomized(1).settings == task.randomized(1).settings


def test_the_dough_takes_the_users_own_target(tmp_path):
    import trimesh

    trimesh.creation.icosphere(subdivisions=2, radius=40.0).export(tmp_path / "ball.stl")
    task = make_task("pliant/ShapeDough-v0", target=str(tmp_path / "ball.stl"), target_scale=0.001, **SHORT)
    low, high = task.target.bounds
    assert np.allclose(high - low, 0.08, atol=1e-3)
    assert low[2] == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(ModelError, match="target_scale"):
        make_task("pliant/ShapeDough-v0", target=str(tmp_path / "ball.stl"), **SHORT)
    with pytest.raises(MeshError, match="nowhere"):
        make_task("pliant/ShapeDough-v0", target=str(tmp_path / "nowhere.stl"), **SHORT)
    sheet = trimesh.Trimesh([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0.05]], [[0, 1, 2]])
    sheet.export(tmp_path / "sheet.ply")
    with pytest.raises(MeshError, match="open"):
        make_task("pliant/ShapeDough-v0", target=str(tmp_path / "sheet.ply"), **SHORT)


def test_a_task_whose_glass_is_too_small_to_hold_a_particle_says_so():
    with pytest.raises(ModelError, match="radius and fill must be at least a cell"):
        make_task("pliant/Pouring-v0", radius=0.001, **SHORT)


LATTE = "pliant/LatteArtStir-v0"


@pytest.fixture
def latte():
    """An episode that is short enough for a test; its stroke is drawn to its end."""
    return make_task(LATTE, horizon=10, stroke_time=0.135, pattern="wave", max_speed=0.8)


def test_the_hidden_stroke_makes_the_target_from_any_seed_and_rest_does_not(latte):
    hidden = latte.target_actions()
    still = float(latte.rollout(torch.zeros_like(hidden)[None]).loss)
    losses = latte.rollout(hidden.expand(2, -1, -1), seed=[1, 2]).loss
    assert float(losses.max()) < 0.01 * still
    assert hidden[:9, :2].norm(dim=1).min() > 0
    assert float(hidden[9:].abs().max()) < 1e-6
    assert not hidden[:, 2].any()


def test_the_target_is_the_same_for_every_task_of_the_same_settings(latte):
    assert make_task(LATTE, horizon=10, stroke_time=0.135, pattern="wave", max_speed=0.8).target is latte.target


def test_the_actions_of_a_run_may_be_the_hidden_stroke(latte, tmp_path):
    RunFolder(tmp_path).write_actions(LATTE, latte.target_actions())
    assert torch.equal(make_task(LATTE, pattern=str(tmp_path / "actions.npz")).target_actions(), latte.target_actions())
    RunFolder(tmp_path).write_actions("pliant/Pouring-v0", torch.zeros(10, 6))
    with pytest.raises(ModelError, match="no actions of pliant/LatteArtStir-v0"):
        make_task(LATTE, pattern=str(tmp_path / "actions.npz")).target_actions()


def test_milk_and_coffee_rest_until_they_are_stirred():
    """It starts with the pressure of its depth. Without, it sags by 0.2 mm and bounces, at up to 29 mm/s."""
    task = make_task(LATTE)
    state, start = task.initial_state(1, 0), task.initial_state(1, 0).position
    for _ in range(10):
        state = task.step(state, torch.zeros(1, 3))
        assert float(state.velocity.square().sum(-1).mean().sqrt()) < 2e-3
        assert float((state.position - start)[..., 2].mean().abs()) < 2e-5
    assert float((state.position - start)[:, task.bodies[1]].norm(dim=-1).mean()) < 2e-4


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"pattern": "hart"}, UnknownNameError, "heart, wave, spiral"),
        ({"pattern": "nowhere.npz"}, FileFormatError, "no file nowhere.npz"),
        ({"stroke_time": 0.01}, ModelError, "stroke_time >="),
        ({"stroke_time": 0.0}, ModelError, "positive"),
        ({"stirrer": 0.002}, ModelError, "thinner than three cells"),
        ({"milk": 0.001}, ModelError, "no particle of milk"),
        ({"coffee": 0.001, "milk_radius": 0.1}, ModelError, "no particle of coffee"),
    ],
)
def test_a_cup_or_stroke_that_cannot_be_says_why(options, error, message):
    with pytest.raises(error, match=message):
        make_task(LATTE, **options).target_actions()


@pytest.mark.parametrize("direction", [(1.0, 1.0, -1.0), (-1.0, -1.0, 1.0)])
def test_stops_keep_the_stirrer_from_pressing_milk_through_a_wall(direction):
    task = make_task(LATTE)
    state = task.initial_state(1, 0)
    for _ in range(20):
        state = task.step(state, torch.tensor([direction]))
    assert bool(state.ok.all())
    own, place = task.settings, state.effector_position[0, 0]
    wall = own.width - own.stirrer - own.cell / 2 if direction[0] > 0 else own.stirrer + own.cell / 2
    assert place[:2].tolist() == pytest.approx([wall, wall], abs=1e-6)
    tip = float(place[2]) - own.stirrer - (own.coffee + own.milk) / 2
    assert tip == pytest.approx(own.cell / 2 if direction[2] < 0 else own.coffee + own.milk + own.cell, abs=1e-6)
