"""The framework of tasks and their faces, on the toy task: what holds here holds for every task."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import Blind, Gentle, PointSolver, PointState, Reach, ReachSettings

import pliant
from pliant.envs import TaskEnv, TaskVectorEnv, make_task, register_task, task_names, task_objective, unit_box
from pliant.envs.registry import TASKS, register_all
from pliant.envs.task import Task
from pliant.errors import DeviceError, MissingExtraError, ModelError, PliantError, ShapeError, UnknownNameError
from pliant.sim.core import Outcome

REACH = "me/Reach-v0"
MODES = ["NextStep", "SameStep", "Disabled"]
FRAGILE = {"speed_limit": 0.6, "horizon": 7}
"""With random actions about half of the episodes end in a failure, the others at the horizon."""


@pytest.fixture(autouse=True, scope="module")
def registered():
    register_task(REACH, "toy:Reach")
    yield
    del TASKS[REACH], gymnasium.registry[REACH]


def fresh_python(code, *arguments):
    """What a new process prints that can import pliant and the toy."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def action_sequences(batch, steps, dtype=torch.float64, size=0.9):
    return (torch.rand(batch, steps, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64).mul(2).sub(1) * size).to(dtype)


# Gymnasium's single face


def test_gymnasium_finds_nothing_wrong(recwarn):
    check_env(gymnasium.make(REACH).unwrapped)
    remarks = [str(warning.message) for warning in recwarn if warning.category is UserWarning]
    assert all("infinity" in remark for remark in remarks)  # observations without bounds, which are meant to be


def test_stable_baselines_finds_nothing_wrong(recwarn):
    pytest.importorskip("stable_baselines3.common.env_checker").check_env(gymnasium.make(REACH).unwrapped, skip_render_check=True)
    assert not [str(warning.message) for warning in recwarn if warning.category is UserWarning]


def play(env, seed, steps):
    env.action_space.seed(seed)
    observation, info = env.reset(seed=seed)
    history = [(observation, info)]
    for _ in range(steps):
        history.append(env.step(env.action_space.sample()))
    return history


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    env = gymnasium.make(REACH)
    first, second, other = play(env, 5, 8), play(gymnasium.make(REACH), 5, 8), play(env, 6, 8)
    assert data_equivalence(first, second, exact=True)
    assert not data_equivalence(first[0][0], other[0][0])


def test_an_episode_is_truncated_at_the_horizon_and_reports_its_metrics_then():
    *earlier, (_, _, terminated, truncated, info) = play(gymnasium.make(REACH, horizon=9), 0, 9)
    assert (terminated, truncated) == (False, True)
    assert set(info["metrics"]) == {"squared_distance"}
    assert not any(step[2] or step[3] or "metrics" in step[4] for step in earlier[1:])


def test_a_step_outside_of_an_episode_is_refused():
    env = TaskEnv("toy:Reach", horizon=1)
    action = np.zeros(2, np.float32)
    with pytest.raises(ResetNeeded):
        env.step(action)
    env.reset(seed=0)
    assert env.step(action)[3]
    with pytest.raises(ResetNeeded):
        env.step(action)


def test_a_failure_ends_the_episode_with_its_outcome_and_finite_numbers():
    env = TaskEnv("toy:Reach", speed_limit=0.05)
    start, _ = env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(np.ones(2, np.float32))
    assert (terminated, truncated, info["outcome"], reward) == (True, False, "TOO_FAST", Reach.failure_reward)
    assert np.array_equal(observation, start)
    assert "metrics" in info


def test_an_observation_that_is_not_finite_is_a_failure_and_never_handed_on():
    env = TaskEnv(Blind(max_force=30.0))
    start, _ = env.reset(seed=1)
    assert start[0] < 0
    for _ in range(12):
        observation, reward, terminated, _, info = env.step(np.array([1, 0], np.float32))
        assert np.isfinite(observation).all()
        if terminated:
            break
    assert (terminated, info["outcome"], reward) == (True, "NOT_FINITE", Reach.failure_reward)


def test_every_corner_of_the_action_space_is_taken_and_nothing_beyond_it():
    env = TaskEnv("toy:Reach")
    for action in ([1, 1], [-1, -1], [-1, 1], [0, 0], np.array([1, -1]), np.array([0.5, 1], np.float64)):
        env.reset(seed=0)
        env.step(np.asarray(action))
    for action, error in (
        ([1.001, 0], ModelError),
        ([0, np.nan], ModelError),
        ([np.inf, 0], ModelError),
        ([0, 0, 0], ShapeError),
        (0.0, ShapeError),
        (["a", "b"], ShapeError),
        ([1j, 0], ShapeError),
    ):
        before = env.reset(seed=0)[0]
        with pytest.raises(error):
            env.step(np.asarray(action))
        assert np.array_equal(env._episodes.observations[0], before)


def test_reset_takes_no_options():
    with pytest.raises(UnknownNameError, match="level"):
        TaskEnv("toy:Reach").reset(options={"level": 3})


def test_observations_saturate_at_the_bounds_of_the_space():
    class Bounded(Reach):
        def build(self):
            super().build()
            self.observation_space = gymnasium.spaces.Box(-0.1, 0.1, (6,), np.float32)

    env = TaskEnv(Bounded())
    for step in play(env, 0, 12):
        assert step[0] in env.observation_space
    assert np.abs(step[0]).max() == np.float32(0.1)


def test_an_episode_of_gymnasium_is_replayed_by_the_differentiable_rollout():
    env = TaskEnv("toy:Reach")
    env.action_space.seed(0)
    _, info = env.reset(seed=11)
    actions = [env.action_space.sample() for _ in range(env.task.horizon)]
    steps = [env.step(action) for action in actions]
    played = env.task.rollout(torch.from_numpy(np.stack(actions))[None], seed=info["episode_seed"])
    assert np.array_equal(env.task.observe(played.final)[0].numpy(), steps[-1][0])
    assert [-float(cost) for cost in played.stage_costs[0]] == [step[1] for step in steps]


def test_a_randomized_environment_draws_its_settings_at_every_reset():
    env = TaskEnv("toy:Reach", randomize=True)
    push = np.ones(2, np.float32)
    speeds = []
    for seed in (1, 1, 2):
        _, info = env.reset(seed=seed)
        speeds.append(env.step(push)[0][2])
        expected = env.task.randomized(info["episode_seed"])
        again = expected.rollout(torch.ones(1, 1, 2), seed=info["episode_seed"]).final.velocity[0, 0]
        assert float(again) == speeds[-1]
    assert speeds[0] == speeds[1] != speeds[2]


# The vector face


@pytest.mark.parametrize("mode", MODES)
def test_the_vector_face_equals_single_environments_bit_for_bit(mode):
    """Through failures, horizons, and resets: the same as Gymnasium's own loop over environments."""
    count = 5
    ours = TaskVectorEnv("toy:Reach", count, autoreset_mode=mode, **FRAGILE)
    theirs = SyncVectorEnv([lambda: TaskEnv("toy:Reach", **FRAGILE)] * count, autoreset_mode=mode)
    assert ours.metadata == theirs.metadata
    assert ours.action_space == theirs.action_space
    assert ours.observation_space == theirs.observation_space
    ours.action_space.seed(0)
    pairs = [(ours.reset(seed=3), theirs.reset(seed=3))]
    terminated, truncated = 0, 0
    for _ in range(40):
        actions = ours.action_space.sample()
        pairs.append((ours.step(actions), theirs.step(actions)))
        ended = pairs[-1][0][2] | pairs[-1][0][3]
        terminated, truncated = terminated + pairs[-1][0][2].sum(), truncated + pairs[-1][0][3].sum()
        if mode == "Disabled" and ended.any():
            pairs.append((ours.reset(options={"reset_mask": ended}), theirs.reset(options={"reset_mask": ended})))
    assert min(terminated, truncated) > 5
    for mine, other in pairs:
        assert data_equivalence(mine, other, exact=True)


def test_seeds_may_be_given_one_by_one():
    vector = TaskVectorEnv("toy:Reach", 3)
    observations, infos = vector.reset(seed=[8, None, 2])
    for env, seed in ((0, 8), (2, 2)):
        alone, info = TaskEnv("toy:Reach").reset(seed=seed)
        assert np.array_equal(observations[env], alone)
        assert infos["episode_seed"][env] == info["episode_seed"]
    with pytest.raises(ShapeError, match="2 seeds for 3"):
        vector.reset(seed=[1, 2])


def test_a_masked_reset_leaves_the_other_environments_where_they_are():
    env = TaskVectorEnv("toy:Reach", 4, autoreset_mode="Disabled", horizon=5)
    env.reset(seed=0)
    before = env.step(np.full((4, 2), 0.5, np.float32))[0]
    after, infos = env.reset(options={"reset_mask": np.array([False, True, False, True])})
    assert np.array_equal(after[[0, 2]], before[[0, 2]])
    assert not (after[[1, 3]] == before[[1, 3]]).all(1).any()
    assert infos["_outcome"].tolist() == [False, True, False, True]
    for _ in range(4):
        *_, truncated, _ = env.step(np.zeros((4, 2), np.float32))
    assert truncated.tolist() == [True, False, True, False]
    with pytest.raises(ResetNeeded, match=r"\[0, 2\]"):
        env.step(np.zeros((4, 2), np.float32))


@pytest.mark.parametrize("mask", [np.zeros(4, bool), np.ones(3, bool), np.ones(4, int), [[True] * 4], "all"])
def test_a_mask_that_means_nothing_is_refused(mask):
    env = TaskVectorEnv("toy:Reach", 4)
    env.reset(seed=0)
    with pytest.raises(ShapeError, match="reset_mask"):
        env.reset(options={"reset_mask": mask})
    with pytest.raises(UnknownNameError, match="reset_maks"):
        env.reset(options={"reset_maks": mask})


def test_the_first_reset_is_of_all_environments_and_comes_before_a_step():
    env = TaskVectorEnv("toy:Reach", 2)
    with pytest.raises(ResetNeeded):
        env.step(np.zeros((2, 2), np.float32))
    with pytest.raises(ResetNeeded):
        env.reset(options={"reset_mask": np.array([True, False])})


def test_the_same_step_mode_hands_out_the_last_observation():
    env = TaskVectorEnv("toy:Reach", 2, autoreset_mode=AutoresetMode.SAME_STEP, horizon=1)
    env.reset(seed=0)
    observations, _, _, truncated, infos = env.step(np.zeros((2, 2), np.float32))
    assert truncated.all()
    assert not np.array_equal(np.stack(infos["final_obs"]), observations)
    assert infos["final_info"]["outcome"].tolist() == ["OK", "OK"]
    assert "squared_distance" in infos["final_info"]["metrics"]


def test_a_failing_environment_is_frozen_and_marked_while_the_others_go_on():
    actions = np.zeros((3, 2), np.float32)
    calm = TaskVectorEnv("toy:Reach", 3, autoreset_mode="Disabled", speed_limit=0.3)
    wild = TaskVectorEnv("toy:Reach", 3, autoreset_mode="Disabled", speed_limit=0.3)
    calm.reset(seed=0)
    start = wild.reset(seed=0)[0]
    expected = calm.step(actions)
    actions[1] = 1
    observations, rewards, terminated, truncated, infos = wild.step(actions)
    assert terminated.tolist() == [False, True, False]
    assert not truncated.any()
    assert infos["outcome"].tolist() == ["OK", "TOO_FAST", "OK"]
    assert rewards[1] == Reach.failure_reward
    assert np.array_equal(observations[1], start[1])
    assert np.array_equal(observations[[0, 2]], expected[0][[0, 2]])
    assert np.array_equal(rewards[[0, 2]], expected[1][[0, 2]])


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"num_envs": 0}, ModelError),
        ({"num_envs": 2.5}, ModelError),
        ({"autoreset_mode": "Never"}, UnknownNameError),
        ({"render_mode": "human"}, UnknownNameError),
        ({"randomize": True}, ModelError),
        ({"max_episode_steps": 0}, ModelError),
        ({"masss": 1.0}, UnknownNameError),
    ],
)
def test_a_vector_environment_that_cannot_be_is_refused(arguments, error):
    with pytest.raises(error):
        TaskVectorEnv("toy:Reach", **{"num_envs": 2, **arguments})


# Registration


def test_import_registers_the_tasks_without_torch_or_taichi():
    code = """
import sys, gymnasium, pliant
print("torch" in sys.modules, "taichi" in sys.modules, *[name for name in gymnasium.registry if name.startswith("pliant/")])
"""
    assert fresh_python(code).split() == ["False", "False", *[name for name in TASKS if name.startswith("pliant/")]]


def test_the_names_at_the_top_are_what_they_say():
    assert pliant.make_task is make_task
    assert pliant.rollout.__module__ == "pliant.sim.rollout"
    assert pliant.Outcome is Outcome
    with pytest.raises(AttributeError, match="nonsense"):
        _ = pliant.nonsense


def test_registering_again_changes_nothing(recwarn):
    register_all()
    register_task(REACH, "toy:Reach")
    assert not list(recwarn)
    assert REACH in task_names()


@pytest.mark.parametrize(
    ("name", "entry", "message"),
    [
        (REACH, "toy:Blind", "already the task"),
        ("CartPole-v1", "toy:Reach", "already has an environment"),
        ("me/Other-v0", "toy.Reach", "module:Class"),
        ("me/Other-v0", Reach, "module:Class"),
        ("me/Other-v0", "toy:Reach:Reach", "module:Class"),
        ("me/Oth er!", "toy:Reach", "does not take the name"),
    ],
)
def test_a_name_or_place_that_cannot_be_registered_is_refused(name, entry, message):
    with pytest.raises(ModelError, match=message):
        register_task(name, entry)
    assert TASKS[REACH] == "toy:Reach"
    assert "me/Other-v0" not in TASKS


def test_a_specification_survives_json_and_a_new_process():
    env = gymnasium.make(REACH, mass=0.7, colour=(0.1, 0.2, 0.3), horizon=4)
    text = env.spec.to_json()
    again = gymnasium.make(EnvSpec.from_json(text))
    assert again.unwrapped.task.settings == env.unwrapped.task.settings
    assert data_equivalence(play(env, 1, 4), play(again, 1, 4), exact=True)
    code = """
import sys, json, gymnasium
from gymnasium.envs.registration import EnvSpec
env = gymnasium.make(EnvSpec.from_json(sys.argv[1]))
print(json.dumps([env.reset(seed=1)[0].tolist(), env.unwrapped.task.settings.mass]))
"""
    assert json.loads(fresh_python(code, text)) == [env.reset(seed=1)[0].tolist(), 0.7]


@pytest.mark.parametrize("name", ["pliant/LatteArtStir-v0", "pliant/Pouring-v0", "pliant/ShapeDough-v0"])
def test_the_tasks_of_the_package_have_json_specifications(name):
    spec = gymnasium.spec(name)
    assert EnvSpec.from_json(spec.to_json()) == spec


def test_make_vec_makes_the_batched_environment():
    env = gymnasium.make_vec(REACH, num_envs=3, mass=0.6, autoreset_mode="SameStep", max_episode_steps=2)
    assert isinstance(env, TaskVectorEnv)
    assert (env.num_envs, env.task.name, env.task.settings.mass) == (3, REACH, 0.6)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert env.reset(seed=0)[0] in env.observation_space
    assert not env.step(env.action_space.sample())[3].any()
    assert env.step(env.action_space.sample())[3].all()
    assert EnvSpec.from_json(env.spec.to_json()).kwargs["mass"] == 0.6
    assert gymnasium.make_vec(REACH, num_envs=2).metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert isinstance(gymnasium.make_vec(REACH, num_envs=2, vectorization_mode="sync", randomize=True), SyncVectorEnv)


def test_an_unknown_task_lists_those_that_exist():
    with pytest.raises(UnknownNameError, match=REACH):
        make_task("pliant/Poring-v0")
    for name in ("no_such_module:Task", "toy:NoSuchClass", "toy:PointState"):
        with pytest.raises(ModelError):
            make_task(name)


# The task itself


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"preset": "medium"}, UnknownNameError, "small, full"),
        ({"masss": 1.0}, UnknownNameError, "horizon, dt, mass"),
        ({"dtype": "float16"}, UnknownNameError, "float32, float64"),
        ({"seed": -1}, ModelError, "seed"),
        ({"seed": 0.5}, ModelError, "seed"),
        ({"mass": "heavy"}, ModelError, "type float"),
        ({"mass": True}, ModelError, "type float"),
        ({"mass": float("nan")}, ModelError, "finite"),
        ({"mass": -1.0}, ModelError, "positive"),
        ({"horizon": 2.5}, ModelError, "type int"),
        ({"horizon": 0}, ModelError, "positive"),
        ({"dt": 0.0}, ModelError, "positive"),
        ({"shape": 3}, ModelError, "type str"),
        ({"colour": 0.5}, ModelError, "type tuple"),
        ({"colour": ["red"]}, ModelError, "type float"),
        ({"device": "cuda:99"}, DeviceError, "cuda:99"),
        ({"device": "tpu"}, DeviceError, "tpu"),
        ({"device": "meta"}, DeviceError, "not supported"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        make_task("toy:Reach", **arguments)
    assert str(caught.value).count("\n") < 2


def test_options_change_the_preset_and_keep_its_types():
    task = make_task(REACH, "full", mass=2, colour=[1, 0, 0], shape=Path("a/b"), horizon=np.int64(3))
    assert task.settings == ReachSettings(horizon=3, mass=2.0, colour=(1.0, 0.0, 0.0), shape="a/b")
    assert type(task.settings.mass) is float
    assert (task.name, task.preset, task.horizon, task.dt) == (REACH, "full", 3, 0.05)
    assert make_task(REACH).horizon == 12


class Incomplete(Reach):
    def build(self):
        self.action_space = unit_box(2)


class Wide(Reach):
    def build(self):
        super().build()
        self.action_space = gymnasium.spaces.Box(-2.0, 2.0, (2,), np.float32)


class Mute(Reach):
    draw, camera = Task.draw, Task.camera


def test_a_task_that_is_not_complete_says_what_is_missing():
    with pytest.raises(ModelError, match="must set solver"):
        Incomplete()
    with pytest.raises(ModelError, match="from -1 to 1"):
        Wide()
    env = TaskEnv(Mute(), render_mode="rgb_array")
    env.reset(seed=0)
    with pytest.raises(ModelError, match="no picture"):
        env.render()


@pytest.mark.parametrize("method", ["observe", "reward"])
def test_a_method_of_the_wrong_shape_is_named(method):
    task = Reach()
    correct = getattr(task, method)
    setattr(task, method, lambda *arguments: correct(*arguments)[..., None])
    env = TaskEnv(task)
    with pytest.raises(ModelError, match=rf"{method}\(\)"):
        env.reset(seed=0), env.step(np.zeros(2, np.float32))


@pytest.mark.parametrize("checkpoint", [None, "sqrt"])
def test_the_gradient_of_the_loss_agrees_with_central_differences(checkpoint):
    task = Reach(dtype="float64")
    actions = action_sequences(3, task.horizon).requires_grad_()
    loss = task.rollout(actions, checkpoint=checkpoint).loss
    (gradient,) = torch.autograd.grad(loss.sum(), actions)
    for seed in range(3):
        direction = torch.randn(actions.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        with torch.no_grad():
            up, down = (task.rollout(actions + sign * 1e-5 * direction).loss for sign in (1, -1))
        slope, difference = (gradient * direction).sum((1, 2)), (up - down) / 2e-5
        assert ((slope - difference).abs() / difference.abs()).max() < 1e-7


def test_the_loss_is_the_stage_costs_and_the_final_cost():
    task = Reach(dtype="float64")
    actions = action_sequences(2, 5)
    played = task.rollout(actions, keep=True)
    assert len(played.states) == 6
    by_hand = sum(
        task.stage_cost(state, actions[:, t], following, t)
        for t, (state, following) in enumerate(zip(played.states[:-1], played.states[1:], strict=True))
    ) + task.final_cost(played.final)
    assert torch.allclose(played.loss, by_hand, rtol=1e-14)
    assert played.stage_costs.shape == (2, 5)
    assert task.rollout(actions).states is None


def test_one_seed_starts_all_environments_alike_and_several_one_each():
    task = Reach(dtype="float64", seed=4)
    still = torch.zeros(3, 1, 2, dtype=torch.float64)
    alike, each = task.rollout(still).loss, task.rollout(still, seed=[4, 5, 6]).loss
    assert alike[0] == alike[1] == alike[2] == each[0]
    assert each[1] == task.rollout(still[:1], seed=5).loss[0]
    assert len(set(each.tolist())) == 3


def test_a_failure_is_marked_in_the_rollout_and_its_loss_stays_finite():
    task = Reach(dtype="float64", speed_limit=0.3)
    actions = torch.zeros(2, 4, 2, dtype=torch.float64)
    actions[1] = 1
    played = task.rollout(actions)
    assert played.ok.tolist() == [True, False]
    assert played.final.outcomes() == [Outcome.OK, Outcome.TOO_FAST]
    assert played.loss.isfinite().all()


def test_a_task_may_end_environments_that_push_too_hard():
    """They are frozen in the state before the step, the others go on with the same bits, and the mark of a solver stays."""
    actions = 0.3 * torch.ones(3, 3, 2, dtype=torch.float64)
    actions[1, 1] = 1.0
    actions[2] = 0.0
    actions.requires_grad_()
    gentle, plain = Gentle(dtype="float64"), Reach(dtype="float64")
    played, free = gentle.rollout(actions, seed=[1, 2, 3], keep=True), plain.rollout(actions, seed=[1, 2, 3], keep=True)
    assert played.ok.tolist() == [True, False, True]
    assert [state.outcomes()[1] for state in played.states] == [Outcome.OK, Outcome.OK, Outcome.OVERLOADED, Outcome.OVERLOADED]
    for state in played.states[2:]:
        assert torch.equal(state.position[1], played.states[1].position[1])
    assert torch.equal(played.final[[0, 2]].position, free.final[[0, 2]].position)
    mine, theirs = (torch.autograd.grad(course.loss[[0, 2]].sum(), actions)[0] for course in (played, free))
    assert torch.equal(mine, theirs)
    assert float(mine[1].abs().max()) == 0.0
    fast = Gentle(dtype="float64", speed_limit=0.05).rollout(torch.ones(1, 2, 2, dtype=torch.float64))
    assert fast.final.outcomes() == [Outcome.TOO_FAST]


def test_what_a_task_ends_is_over_for_gymnasium_too_and_under_another_solver():
    env = TaskEnv("toy:Gentle")
    start, _ = env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(np.ones(2, np.float32))
    assert (terminated, truncated, info["outcome"], reward) == (True, False, "OVERLOADED", Gentle.failure_reward)
    assert np.array_equal(observation, start)
    task = Gentle(dtype="float64")
    actions = torch.tensor([[[0.2, 0.0]], [[1.0, 0.0]]], dtype=torch.float64)
    model = task.solver.model
    light = PointSolver(dataclasses.replace(model, mass=model.mass / 2))
    played = task.rollout(actions, solver=light)
    assert played.final.outcomes() == [Outcome.OK, Outcome.OVERLOADED]
    assert float((played.final.position - task.rollout(actions).final.position)[0].abs().max()) > 1e-4


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda a: a[0], ShapeError, "'B', 'T', 2"),
        (lambda a: a[..., :1], ShapeError, "shape"),
        (lambda a: a.float(), ShapeError, "float32"),
        (lambda a: a.numpy(), ShapeError, "tensor"),
        (lambda a: a[:0], ShapeError, "at least one"),
        (lambda a: a[:, :0], ShapeError, "at least one"),
        (lambda a: a.index_fill(1, torch.tensor([3]), 1.5), ModelError, "environment 0, step 3, component 0 is 1.5"),
        (lambda a: a.index_fill(2, torch.tensor([1]), torch.nan), ModelError, "environment 0, step 0, component 1 is nan"),
    ],
)
def test_actions_that_cannot_be_played_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        Reach(dtype="float64").rollout(change(action_sequences(2, 5)))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_array_as_an_action_is_played_or_a_clear_error(data):
    shape = data.draw(st.sampled_from([(2,), (1,), (), (2, 1), (3,)]))
    numbers = st.floats(width=32) | st.floats(-1, 1, width=32)
    action = np.array(data.draw(st.lists(numbers, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))).reshape(shape)
    env = TaskEnv(REACH_TASK)
    env.reset(seed=0)
    try:
        observation, reward, *_ = env.step(action)
    except PliantError:
        assert action.shape != (2,) or not (np.abs(action) <= 1).all()
    else:
        assert np.isfinite(observation).all()
        assert np.isfinite(reward)


REACH_TASK = Reach()


def test_a_step_of_the_task_checks_its_action():
    task = Reach()
    state = task.initial_state(2, 0)
    assert isinstance(task.step(state, torch.ones(2, 2)), PointState)
    with pytest.raises(ModelError, match="environment 1, component 0 is -2"):
        task.step(state, torch.tensor([[0.0, 0.0], [-2.0, 0.0]]))
    with pytest.raises(ShapeError, match="action has shape"):
        task.step(state, torch.zeros(3, 2))


def test_the_randomizer_is_a_function_of_the_seed():
    task = make_task(REACH, "full", dtype="float64", drag=0.1)
    first, again, other = task.randomized(1), task.randomized(1), task.randomized(2)
    assert first.settings == again.settings != other.settings
    assert first.settings.mass != task.settings.mass
    assert (first.name, first.dtype, first.settings.drag, first.horizon) == (REACH, torch.float64, 0.1, 200)
    assert float(first.solver.model.mass) == first.settings.mass


def test_an_objective_averages_over_its_seeds():
    task = Reach(dtype="float64", speed_limit=1.5)
    objective = task_objective(task, [0, 3])
    assert objective.shape == (12, 2)
    assert (objective.lower.tolist(), objective.upper.tolist()) == ([-1, -1], [1, 1])
    actions = action_sequences(2, 12, size=0.1)
    actions[1] = 1
    actions.requires_grad_()
    evaluation = objective(actions)
    separate = [task.rollout(actions, seed=seed) for seed in (0, 3)]
    assert torch.allclose(evaluation.loss, (separate[0].loss + separate[1].loss) / 2, rtol=1e-14)
    assert evaluation.ok.tolist() == [True, False]
    assert torch.autograd.grad(evaluation.loss[0], actions)[0][0].abs().max() > 0
    assert torch.equal(task_objective(task)(actions).loss, separate[0].loss)
    with pytest.raises(ShapeError):
        task_objective(task, [])


# stable-baselines3


def test_ppo_runs_on_the_adapter_and_sees_ends_as_it_expects():
    ppo = pytest.importorskip("stable_baselines3").PPO
    from stable_baselines3.common.vec_env import VecMonitor

    from pliant.envs import Sb3VecEnv

    env = Sb3VecEnv(REACH, 4, **FRAGILE)
    model = ppo("MlpPolicy", VecMonitor(env), n_steps=16, batch_size=32, n_epochs=1, seed=0, device="cpu")
    model.learn(64)
    assert model.num_timesteps == 64
    assert len(model.ep_info_buffer) > 0
    env.close()


def test_the_adapter_equals_the_loop_of_stable_baselines_over_environments():
    dummy = pytest.importorskip("stable_baselines3.common.vec_env").DummyVecEnv([lambda: TaskEnv(REACH, **FRAGILE)] * 3)
    from pliant.envs import Sb3VecEnv

    ours = Sb3VecEnv(REACH, 3, **FRAGILE)
    for env in (ours, dummy):
        env.seed(5)
    assert np.array_equal(ours.reset(), dummy.reset())
    generator, ends = np.random.default_rng(0), 0
    for _ in range(20):
        actions = generator.uniform(-1, 1, (3, 2)).astype(np.float32)
        mine, theirs = ours.step(actions), dummy.step(actions)
        assert data_equivalence(mine, theirs, exact=True)
        assert data_equivalence(ours.reset_infos, dummy.reset_infos, exact=True)
        ends += mine[2].sum()
    assert ends > 3
    assert ours.get_attr("num_envs") == [3] * 3
    assert ours.env_is_wrapped(gymnasium.Wrapper, [0, 1]) == [False] * 2
    ours.set_options({"level": 3})
    with pytest.raises(UnknownNameError, match="level"):
        ours.reset()


def test_without_stable_baselines_the_adapter_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    for name in [name for name in sys.modules if name.startswith("stable_baselines3.") or name == "pliant.envs.sb3"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match=r"pliant\[rl\]"):
        _ = pliant.envs.Sb3VecEnv


# Pictures


def test_pictures_are_made_of_every_environment():
    single = TaskEnv("toy:Reach", render_mode="rgb_array", image_size=(48, 32))
    with pytest.raises(ResetNeeded):
        single.render()
    single.reset(seed=0)
    picture = single.render()
    assert (picture.shape, picture.dtype) == ((32, 48, 3), np.uint8)
    vector = TaskVectorEnv("toy:Reach", 2, render_mode="rgb_array", image_size=(48, 32))
    vector.reset(seed=0)
    pictures = vector.render()
    assert np.array_equal(pictures[0], picture)
    assert not np.array_equal(pictures[1], picture)
    assert single.metadata["render_fps"] == 20
    blind = TaskEnv("toy:Reach")
    blind.reset(seed=0)
    assert blind.render() is None
