"""Our side of the MPM benchmark: a cube of eight particles a cell that turns in a box of 64^3 cells, and falls.

`python -m pliant.benchmarks.mpm_ours` is a worker (`workers.serve`).
"""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

CELLS, DT, SUBSTEPS = 64, 2e-4, 20
STAGES = ("push", "gather", "node", "pull", "pull adjoint", "gather adjoint", "node adjoint", "push adjoint")


class Scene:
    """One scene, and the times of its steps."""

    solver: Any
    state: Any
    before: float

    def make(self, material: str, count: int, batch: int = 1, substeps: int = SUBSTEPS) -> int:
        """Builds a cube of `count`^3 particles of a liquid or an elastic material; returns how many an environment has."""
        from ..sim.mpm import MpmSolver

        self.before = _peak()
        self.solver = MpmSolver(_model(material, count, substeps))
        self.state, self.control = self.solver.initial_state(batch), self.solver.rest_control(batch)
        return self.solver.model.particles

    def forward(self) -> float:
        """Seconds of a control step, from where the last one ended."""
        import torch

        start = time.perf_counter()
        with torch.no_grad():
            self.state = self.solver.step(self.state, self.control)
        seconds = time.perf_counter() - start
        if not bool(self.state.ok.all()):
            raise RuntimeError(f"the scene failed: {self.state.outcomes()}")
        return seconds

    def gradient(self) -> float:
        """Seconds of the derivative of one control step with respect to the velocities; it runs the substeps once more."""
        import torch

        velocity = self.state.velocity.clone().requires_grad_()
        end = self.solver.step(self.state.replace(velocity=velocity), self.control)
        loss = end.position.square().sum()
        start = time.perf_counter()
        (slope,) = torch.autograd.grad(loss, velocity)
        seconds = time.perf_counter() - start
        if not bool(torch.isfinite(slope).all()):
            raise RuntimeError("the gradient is not finite")
        return seconds

    def memory(self) -> float:
        """What the process has grown by since before the scene, at its peak [MiB]."""
        return _peak() - self.before

    def rollout(self, steps: int) -> float:
        """The most that torch holds at a time during a gradient through `steps` control steps [MiB].

        It is counted by the allocator: the size of the process hides what earlier work had left free.
        """
        import torch
        from torch.profiler import ProfilerActivity, profile

        from ..sim.rollout import rollout

        velocity = self.state.velocity.clone().requires_grad_()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            end = rollout(self.solver, self.state.replace(velocity=velocity), [self.control] * steps, checkpoint="sqrt").final
            torch.autograd.grad(end.position.square().sum(), velocity)
        held = most = 0
        for event in record.profiler.kineto_results.events():
            if event.name() == "[memory]":
                held += event.nbytes()
                most = max(most, held)
        return most / 2**20

    def stages(self, repeats: int) -> dict[str, float]:
        """Seconds of each stage of a substep: the least of several. It wants Taichi's profiler (`TI_KERNEL_PROFILER=1`)."""
        from taichi.profiler.kernel_profiler import get_default_kernel_profiler

        self.solver._engine.by_environment = lambda _x: False  # stage by stage, on however few threads
        profiler = get_default_kernel_profiler()
        for _ in range(2):
            self.gradient()
        profiler.clear_info()
        for _ in range(repeats):
            self.gradient()
        profiler._update_records()
        least: dict[str, float] = {}
        for record in profiler._traced_records:
            if record.name.endswith("range_for"):
                least[record.name] = min(record.kernel_time / 1e3, least.get(record.name, float("inf")))
        ordered = sorted(least, key=lambda name: ("adjoint" in name, int(name.split("_")[-3])))
        return dict(zip(STAGES, (least[name] for name in ordered), strict=True))

    def traffic(self) -> int:
        """The bytes that a forward substep must read and write at least: particles once a stage, tiles and nodes.

        Of a particle `push` reads place, velocity, affine velocity, [deformation,] volume ratio, mass, volume, two parameters and kind, and writes
        [deformation,] volume ratio and stress; `pull` reads the place and writes place, velocity and affine velocity. A tile is written,
        read by the nodes, and filled from them; the momentum of a node is written and read, its velocity written.
        """
        from ..sim.mpm.sorting import arrange, cell_keys
        from ..sim.mpm.stencil import BLOCK, TILE

        d, engine = 3, self.solver._engine
        shape = 2 * d * d if self.solver._scene.keeps_shape else 0
        numbers = (2 * d + d * d + 6 + 1 + d * d) + shape + (2 * d) + (d + d * d)
        layout = arrange(engine.scene, cell_keys(engine.scene, self.state.position), None)
        nodes = len(layout.blocks) * TILE**d * 3 + len(layout.slots) * BLOCK**d * 3
        return 4 * (numbers * self.state.position[..., 0].numel() + nodes * (d + 1))

    def bandwidth(self) -> float:
        """Bytes a second of a = b + 3 c on all threads with arrays that no cache holds, 12 bytes an entry: the best of ten."""
        import torch

        a, b, c = (torch.ones(2**25) for _ in range(3))
        best = 0.0
        for _ in range(10):
            start = time.perf_counter()
            torch.add(b, c, alpha=3.0, out=a)
            best = max(best, 12 * len(a) / (time.perf_counter() - start))
        return best


def _model(material: str, count: int, substeps: int) -> Any:
    import torch

    from ..sim.materials import FixedCorotated, Liquid
    from ..sim.mpm import Body, MpmModel

    cell = 1 / CELLS
    spacing = cell / 2
    axis = 0.5 + spacing * (torch.arange(count, dtype=torch.float64) - 0.5 * (count - 1))
    points = torch.cartesian_prod(axis, axis, axis)
    turning = 2.0 * torch.stack((0.5 - points[:, 1], points[:, 0] - 0.5, torch.zeros(len(points), dtype=torch.float64)), 1)
    kind = Liquid(1000.0, 1e5, 0.01) if material == "liquid" else FixedCorotated(1000.0, 1e5, 0.3)
    body = Body(points, kind, spacing**3, turning)
    return MpmModel([body], (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), cell, DT * substeps, substeps=substeps)


def _peak() -> float:
    """The most memory that this process has held [MiB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**10 if sys.platform != "darwin" else 2**20)


if __name__ == "__main__":
    from .workers import serve

    scene = Scene()
    names = ("make", "forward", "gradient", "memory", "rollout", "stages", "traffic", "bandwidth")
    serve({name: getattr(scene, name) for name in names})
