"""The peer of the MPM benchmark: Genesis on its CPU backend. A script for the peer's interpreter, which need not have pliant.

The scene is that of `mpm_ours.py`: a cube of eight particles a cell that turns in a box, and falls; same grid, substeps, time step, moduli.
Its liquid has no equation of state of Tait's and no viscosity, so that it does less work than ours.
"""

import json
import math
import os
import resource
import sys
import time
from typing import Any

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("QD_NUM_THREADS", str(os.cpu_count()))  # by itself it would use one


class Scene:
    """One scene of Genesis, and the times of its steps."""

    scene: Any
    body: Any
    velocity: Any
    before: float

    def make(self, material: str, count: int, batch: int, cells: int, dt: float, substeps: int, gradient: bool) -> int:
        """Builds the scene; returns how many particles an environment has."""
        import genesis as gs
        import torch

        gs.init(backend=gs.cpu, precision="32", logging_level="error")
        before = peak()
        cell = 1 / cells
        scene = gs.Scene(
            sim_options=gs.options.SimOptions(dt=dt * substeps, substeps=substeps, requires_grad=gradient),
            mpm_options=gs.options.MPMOptions(
                grid_density=cells, particle_size=cell / 2, lower_bound=(0.0, 0.0, 0.0), upper_bound=(1.0, 1.0, 1.0)
            ),
            show_viewer=False,
        )
        kind = gs.materials.MPM.Liquid if material == "liquid" else gs.materials.MPM.Elastic
        matter = kind(E=1e5, nu=0.3, rho=1000.0, sampler="regular")
        size = count * cell / 2
        self.body = scene.add_entity(material=matter, morph=gs.morphs.Box(pos=(0.5, 0.5, 0.5), size=(size, size, size)))
        scene.build(n_envs=0 if batch == 1 else batch)
        self.scene, self.before = scene, before
        place = self.body.get_state().pos.detach().reshape(-1, self.body.n_particles, 3)
        self.velocity = 2.0 * torch.stack((0.5 - place[..., 1], place[..., 0] - 0.5, torch.zeros_like(place[..., 0])), -1)
        if batch == 1:
            self.velocity = self.velocity[0]
        if not gradient:
            self.body.set_velocity(self.velocity)
        return int(self.body.n_particles)

    def forward(self) -> float:
        """Seconds of a control step."""
        start = time.perf_counter()
        self.scene.step()
        self.body.get_state()
        return time.perf_counter() - start

    def gradient(self) -> float:
        """Seconds of the derivative of one control step with respect to the velocities."""
        velocity = self.velocity.clone().requires_grad_()
        self.scene.reset()
        self.body.set_velocity(velocity)
        self.scene.step()
        loss = self.body.get_state().pos.square().sum()
        start = time.perf_counter()
        loss.backward()
        seconds = time.perf_counter() - start
        if velocity.grad is None or not math.isfinite(float(velocity.grad.norm())):
            raise RuntimeError("the gradient is missing or not finite")
        return seconds

    def memory(self) -> float:
        """What the process has grown by since before the scene, at its peak [MiB]."""
        return peak() - self.before


def peak() -> float:
    """The most memory that this process has held [MiB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    """Answers requests, one JSON object a line, as `workers.serve` does; Genesis' own messages go to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    scene = Scene()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"value": getattr(scene, request.pop("do"))(**request)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
