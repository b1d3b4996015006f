"""A task of one's own: a ball pushes a soft block to a goal. Its gradient is checked, an optimizer improves it, Gymnasium runs it."""

import dataclasses

import gymnasium
import torch
from gymnasium.utils.env_checker import check_env
from torch import Tensor

from pliant import make_task, optimize, register_task
from pliant.envs import Settings, Task, free_box, task_objective, unit_box
from pliant.sim.materials import NeoHookean
from pliant.sim.mpm import Body, Effector, EffectorControl, MpmModel, MpmSolver, MpmState
from pliant.sim.render import Camera, Drawing
from pliant.sim.sdf import Box, Moved, Sphere

RADIUS = 0.06  # of the ball [m]


@dataclasses.dataclass(frozen=True)
class NudgeSettings(Settings):
    horizon: int = 20
    dt: float = 0.02
    cell: float = 0.025
    goal: float = 0.45
    """Where the middle of the block shall be [m]."""
    max_speed: float = 1.0
    """Of the ball for an action of 1 [m/s]."""
    friction: float = 0.2
    """Of the floor."""


class Nudge(Task):
    """Push a soft block along the floor, so that its middle comes to rest at the goal.

    The reward of a step is minus the squared distance to the goal in decimetres. The loss is that distance after the last step, plus
    0.1 times the squared speed [m/s].
    """

    presets = {"small": NudgeSettings(), "full": NudgeSettings(cell=0.0125)}

    def build(self) -> None:
        own = self.settings
        block = Body.seeded(Moved(Box((0.075, 0.05)), (0.25, 0.05)), NeoHookean(500.0, 2e4, 0.3), own.cell)
        ball = Effector(Sphere(RADIUS, dimension=2), (0.1, 0.07), softness=own.cell)
        self.solver = MpmSolver(
            MpmModel(
                [block], (0.0, 0.0), (0.7, 0.3), own.cell, own.dt,
                walls="coulomb", wall_friction=own.friction, effectors=[ball], dtype=self.dtype, device=self.device,
            )
        )  # fmt: skip
        self.action_space = unit_box(2)
        self.observation_space = free_box(6)

    def initial_state(self, batch: int, seed: int) -> MpmState:
        """A start speed of the block of up to 5 cm/s either way."""
        start = self.solver.initial_state(1)
        speed = 0.1 * torch.rand((), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.05
        return start.replace(velocity=start.velocity + speed.to(start.velocity) * start.velocity.new_tensor([1.0, 0.0])).repeat(batch)

    def control(self, action: Tensor, state: MpmState) -> EffectorControl:
        return EffectorControl(self.settings.max_speed * action[:, None], action.new_zeros(len(action), 1, 1))

    def observe(self, state: MpmState) -> Tensor:
        return torch.cat([state.position.mean(1), state.velocity.mean(1), state.effector_position[:, 0]], 1)

    def reward(self, state: MpmState, action: Tensor, following: MpmState) -> Tensor:
        return -self.distance(following)

    def stage_cost(self, state: MpmState, action: Tensor, following: MpmState, t: int) -> Tensor:
        return torch.zeros_like(action[:, 0])

    def final_cost(self, state: MpmState) -> Tensor:
        return self.distance(state) + 0.1 * state.velocity.mean(1).square().sum(1)

    def distance(self, state: MpmState) -> Tensor:
        return (10 * (state.position[..., 0].mean(1) - self.settings.goal)) ** 2

    def metrics(self, state: MpmState) -> dict[str, Tensor]:
        return {"distance": (state.position[..., 0].mean(1) - self.settings.goal).abs()}

    def draw(self, state: MpmState, env: int) -> Drawing:
        angles = torch.linspace(0.0, 2 * torch.pi, 49)[:-1]
        rim = RADIUS * torch.stack([angles.cos(), angles.sin()], 1) + state.effector_position[env].detach().cpu()
        fan = [(0, k, k + 1) for k in range(1, len(rim) - 1)]
        return Drawing(state.position[env].detach().cpu(), radius=0.4 * self.settings.cell, meshes=[(rim, fan, (0.5, 0.5, 0.55))])

    def camera(self) -> Camera:
        return Camera.planar((0.0, 0.0), (0.7, 0.3))


def check_gradient() -> None:
    """The derivative of the loss along a random change of all actions, against a central difference."""
    task = Nudge(dtype="float64")
    draw = torch.Generator().manual_seed(0)
    # At random, since a ball that starts between nodes and moves in round numbers meets nodes exactly where contact has a kink.
    actions, direction = (torch.rand(2, 1, task.horizon, 2, generator=draw, dtype=torch.float64) - 0.5).unbind()
    actions = actions + torch.tensor([0.4, 0.0], dtype=torch.float64)
    actions.requires_grad_()
    (gradient,) = torch.autograd.grad(task.rollout(actions).loss.sum(), actions)
    slope = float((gradient * direction).sum())
    step = 1e-6
    with torch.no_grad():
        ends = [float(task.rollout(actions + sign * step * direction).loss) for sign in (1, -1)]
    difference = (ends[0] - ends[1]) / (2 * step)
    error = abs(slope - difference) / abs(difference)
    print(f"slope {slope:.9e}, difference {difference:.9e}, relative error {error:.1e}")
    assert error < 1e-5


def main() -> None:
    check_gradient()

    register_task("me/Nudge-v0", "own_task:Nudge")
    result = optimize(task_objective(make_task("me/Nudge-v0")), "adam", iterations=15, learning_rate=0.1, seed=1)
    start = result.history["loss"][0]
    print(f"loss {start:.4f} at the start, {result.loss:.4f} after {result.iterations} iterations of Adam")
    assert result.loss < 0.5 * start

    env = gymnasium.make("me/Nudge-v0", render_mode="rgb_array")
    check_env(env.unwrapped)
    env.reset(seed=3)
    observation, reward, *_ = env.step(env.action_space.sample())
    print(f"Gymnasium: observation of {len(observation)} numbers, reward {reward:.3f}, picture {env.render().shape}")


if __name__ == "__main__":
    main()
