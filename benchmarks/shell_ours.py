"""Our side of the shell benchmark. `python -m pliant.benchmarks.shell_ours` is a worker (`workers.serve`)."""

from __future__ import annotations

import time
from typing import Any

STAGES = ("elastic kernels", "assembly", "factorization", "contact detection", "contact forces", "CCD", "friction", "the rest")


class Scene:
    """One scene, and the times of its steps."""

    solver: Any
    state: Any

    def make(self, kind: str, cells: int = 0, batch: int = 1, **given: Any) -> int:
        """Builds the "folding" scene, or a sheet; returns the unknowns of an environment: of sheets the sheet's."""
        from ..sim.solid import SolidSolver
        from .shell_scenes import folding, sheet_scene

        self.folds = kind == "folding"
        self.solver = SolidSolver(folding(**given) if self.folds else sheet_scene(kind, cells, **given))
        self.state, self.control, self.count = self.solver.initial_state(batch), self.solver.rest_control(batch), 0
        moving = self.state.position.shape[1] if self.folds else self.solver.model.nodes("sheet").stop
        return int(3 * moving + self.state.edge_rotation.shape[1])

    def _control(self) -> Any:
        import torch

        from .shell_scenes import folding_velocity

        if not self.folds:
            return self.control
        velocity = torch.tensor(folding_velocity(self.count), dtype=torch.float64)
        return self.control.replace(linear_velocity=velocity.expand(self.state.batch, 1, 3).contiguous())

    def forward(self) -> dict[str, float]:
        """Seconds of a time step from where the last one ended; Newton iterations and factorizations of an environment; pairs in contact."""
        import torch

        control = self._control()
        self.before, self.last = self.state, control
        start = time.perf_counter()
        with torch.no_grad():
            self.state = self.solver.step(self.state, control)
        seconds = time.perf_counter() - start
        self.count += 1
        if not bool(self.state.ok.all()):
            raise RuntimeError(f"step {self.count}: {', '.join(sorted({outcome.name for outcome in self.state.outcomes()}))}")
        reports = self.solver.report
        counts = {
            name: sum(getattr(report, name) for report in reports) / len(reports) for name in ("iterations", "factorizations", "touching")
        }
        return {"seconds": seconds, **counts}

    def gradient(self) -> float:
        """Seconds of the derivative of the last step with respect to the whole state before it and the motion of handles."""
        import torch

        leaves = {name: tensor.clone().requires_grad_() for name, tensor in self.before.floats().items()}
        motion = self.last.linear_velocity.clone().requires_grad_()
        end = self.solver.step(self.before.replace(**leaves), self.last.replace(linear_velocity=motion))
        loss = end.position.square().sum()
        start = time.perf_counter()
        slopes = torch.autograd.grad(loss, [*leaves.values(), motion], allow_unused=True)
        seconds = time.perf_counter() - start
        if not all(bool(torch.isfinite(slope).all()) for slope in slopes if slope is not None):
            raise RuntimeError("the gradient is not finite")
        return seconds

    def run(self, steps: int) -> list[Any]:
        """Seconds of so many steps from the start, and where the nodes of the sheet are after them; NaN if a step failed."""
        import torch

        state, start = self.solver.initial_state(), time.perf_counter()
        with torch.no_grad():
            for _ in range(steps):
                state = self.solver.step(state, self.control)
                if not bool(state.ok.all()):
                    break
        seconds = time.perf_counter() - start
        place = state.position[0, self.solver.model.nodes("sheet")]
        return [seconds, place.tolist() if bool(state.ok.all()) else torch.full_like(place, torch.nan).tolist()]

    def stages(self, steps: int) -> dict[str, float]:
        """Seconds a step spends in each stage, the mean over more steps; nothing else runs faster for being timed afterwards."""
        import rslab

        from ..sim.solid import assembly, contact, potential
        from .stopwatch import Stopwatch, Watched

        stopwatch = Stopwatch()
        elastic, assembling, factoring, detection, forces, ccd, friction, rest = STAGES
        for kind in {type(term) for term in self.solver._structure.terms}:
            stopwatch.watch(kind, elastic, "energy", "gradient", "hessians")
        stopwatch.watch(assembly.Assembly, assembling, "sum", "times", "reduced")
        stopwatch.watch(assembly.Growing, assembling, "matrix")
        stopwatch.watch(assembly.Pattern, assembling, "factor", "lu")  # all of it but what rslab does
        stopwatch.watch(potential.Surface, assembling, "pulled", "pulled_matrix")
        surface = contact.ContactSurface
        stopwatch.watch(surface, detection, "start", "collisions")
        stopwatch.watch(surface, forces, "barrier_energy", "barrier_gradient", "barrier_hessian", "smallest_gap")
        stopwatch.watch(surface, ccd, "largest_step")
        stopwatch.watch(surface, friction, "friction_set", "friction_jacobians")
        stopwatch.watch(contact.FrictionSet, friction, "energy", "gradient", "hessian")
        analyze = stopwatch.wrapped(rslab.analyze, factoring)

        def symbolic(*args: Any, **named: Any) -> Any:
            found: Any = Watched(analyze(*args, **named), stopwatch, factoring, "factor")
            factor = found.factor
            found.factor = lambda values: Watched(factor(values), stopwatch, factoring, "solve", "solve_transpose")
            return found

        rslab.analyze = symbolic
        # What this solver has analysed already is not timed, so it is forgotten.
        structure = self.solver._structure
        pattern = assembly.Pattern(structure.assembly.pattern.keys, structure.assembly.n)
        structure.assembly.pattern = pattern
        total = sum(self.forward()["seconds"] for _ in range(steps))
        found = {name: stopwatch.seconds[name] for name in STAGES[:-1]}
        found[rest] = total - sum(found.values())
        return {name: seconds / steps for name, seconds in found.items()}


if __name__ == "__main__":
    from .workers import serve

    scene = Scene()
    serve({name: getattr(scene, name) for name in ("make", "forward", "gradient", "run", "stages")})
