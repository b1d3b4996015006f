"""The peer of the shell benchmark: Newton's cloth on the CPU, its VBD and its semi-implicit solver. A script for the peer's interpreter,
which need not have pliant.

Moduli are matched. With mu = E h / (2 (1 + nu)) and lambda = E h nu / (1 - nu^2), its membrane, mu/2 (|F|^2 - 2) + k/2 (J - 1 - mu/k)^2, obeys
Hooke's law of plane stress to first order in strain for k = lambda + mu; VBD adds the mu by itself. A hinge of rest length e whose faces have
the area A together has the energy D e^2 / (2 A) (theta - theta0)^2 of Grinspun et al. 2003, as ours with bending="hinge". VBD's is
ke e / 2 (theta - theta0)^2. The semi-implicit solver takes the gradient of the angle times twice the area of a face, so that its force is
that of A ke e / 2 (theta - theta0)^2 where all faces are equally large.
"""

import json
import os
import sys
import time
from typing import Any

import numpy as np


class Scene:
    """A sheet in one of the solvers."""

    def make(
        self, solver: str, vertices: list, faces: list, held: list, mu: float, lam: float, rigidity: float, density: float, dt: float,
        iterations: int = 10, damping: float = 0.0, ball: list | None = None, friction: float = 0.0, reach: float = 1e-3,
        contact: float = 1e3,
    ) -> float:  # fmt: skip
        """Builds the scene and runs one step, so that its kernels are compiled; returns the seconds that took.

        Args:
            solver: "vbd" or "semi_implicit".
            vertices: [V, 3] [m].
            faces: [F, 3].
            held: vertices that stay.
            mu: E h / (2 (1 + nu)) [N/m].
            lam: E h nu / (1 - nu^2) [N/m].
            rigidity: E h^3 / (12 (1 - nu^2)) [N m].
            density: [kg/m^2].
            dt: time step [s].
            iterations: of VBD a step.
            damping: viscosity of the membrane over mu, and of hinges over their stiffness [s].
            ball: centre and radius of an obstacle [m].
            friction: its coefficient.
            reach: distance at which it begins to push [m].
            contact: stiffness of its contact at a vertex [N/m].
        """
        import newton
        import warp as wp

        start = time.perf_counter()
        wp.config.quiet = True
        wp.set_device("cpu")
        vbd = solver == "vbd"
        builder = newton.ModelBuilder()
        builder.add_cloth_mesh(
            pos=wp.vec3(0.0), rot=wp.quat_identity(), vel=wp.vec3(0.0), scale=1.0,
            vertices=[wp.vec3(*vertex) for vertex in vertices], indices=np.ravel(faces).tolist(), density=density,
            tri_ke=mu, tri_ka=lam if vbd else lam + mu, tri_kd=damping * mu, tri_drag=0.0, tri_lift=0.0,
            edge_ke=1.0, edge_kd=0.0, particle_radius=reach,
        )  # fmt: skip
        stiffness = hinges(np.array(vertices), np.array(builder.edge_indices), rigidity, vbd)
        builder.edge_bending_properties = [(ke, damping * ke) for ke in stiffness]
        for vertex in held:
            builder.particle_mass[vertex] = 0.0
            builder.particle_flags[vertex] = 0
        if ball is not None:
            shape = builder.default_shape_cfg.copy()
            shape.ke, shape.kd, shape.mu, shape.margin = contact, 0.0, friction, 0.0
            builder.add_shape_sphere(-1, xform=wp.transform(wp.vec3(*ball[:3]), wp.quat_identity()), radius=ball[3], cfg=shape)
        if vbd:
            builder.color(include_bending=True)
        model = self.model = builder.finalize()
        model.particle_grid = None
        model.soft_contact_ke, model.soft_contact_kd, model.soft_contact_mu = contact, 1e-4, friction
        if vbd:
            self.solver = newton.solvers.SolverVBD(model, iterations=iterations, friction_epsilon=1e-3)
        else:
            self.solver = newton.solvers.SolverSemiImplicit(model, enable_tri_contact=False)
        self.states = [model.state(), model.state()]
        self.control, self.dt, self.contacts, self.graph = model.control(), dt, None, None
        if ball is not None:
            self.pipeline = newton.CollisionPipeline(model)
            self.contacts = self.pipeline.contacts()
        self._pair()
        with wp.ScopedCapture() as capture:
            self._pair()
        self.graph = capture.graph
        self.states[0].assign(model.state())
        return time.perf_counter() - start

    def _pair(self) -> None:
        """Two steps, so that the state is back in its place."""
        for _ in range(2):
            first, second = self.states
            first.clear_forces()
            if self.contacts is not None:
                self.pipeline.collide(first, self.contacts)
            self.solver.step(first, second, self.control, self.contacts, self.dt)
            self.states.reverse()

    def run(self, steps: int) -> list:
        """Seconds of so many steps, and where the vertices are after them."""
        import warp as wp

        start = time.perf_counter()
        for _ in range(steps // 2):
            wp.capture_launch(self.graph)
        wp.synchronize()
        seconds = time.perf_counter() - start
        return [seconds, self.states[0].particle_q.numpy().tolist()]


def hinges(rest: np.ndarray, edges: np.ndarray, rigidity: float, vbd: bool) -> list[float]:
    """The stiffness of every edge (opposite corners, then ends), zero on the boundary."""
    o, p, i, j = edges.T
    along = rest[j] - rest[i]
    length = np.linalg.norm(along, axis=1)
    area = sum(np.linalg.norm(np.cross(along, rest[corner] - rest[i]), axis=1) / 2 for corner in (o, p))
    stiffness = rigidity * length / area if vbd else rigidity * length / area**2
    return np.where((o < 0) | (p < 0), 0.0, stiffness).tolist()


def main() -> None:
    """Answers requests, one JSON object a line, as `workers.serve` does; other messages go to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    scene: Any = Scene()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"value": getattr(scene, request.pop("do"))(**request)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
