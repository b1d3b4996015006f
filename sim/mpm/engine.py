"""Runs substeps and their adjoint: keeps what the backward pass needs, and calls the kernels."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core import Outcome
from ..runtime import cpu_threads, taichi
from .backward import first_tool, shared_width, tool_width
from .kernels import backward_kernels, forward_kernels
from .memory import Memory
from .sorting import Layout, arrange, cell_keys
from .stencil import BLOCK, PAD, TILE

CHUNK = 32
"""The backward pass records at most this many substeps at a time, so that its memory does not grow with the length of a step."""


ALONE = 10_000
"""Below so many particles an environment is faster on one thread than on two that wait for each other."""


class Particles(NamedTuple):
    """What a substep advances, `[B, N, ...]` in the order of the model, or `[P, ...]` sorted."""

    x: Tensor
    v: Tensor
    C: Tensor
    F: Tensor
    a: Tensor


class Matter(NamedTuple):
    """What particles are made of: `[B, N, ...]`, or `[P, ...]` sorted."""

    mass: Tensor
    par: Tensor


class Shared(NamedTuple):
    """What all particles of an environment feel."""

    centre: Tensor
    """Of each tool at each substep [B, n, E, D]."""
    rotation: Tensor
    """[B, n, E, D, D]."""
    linear: Tensor
    """[B, E, D]."""
    angular: Tensor
    """[B, E, 1 or 3]."""
    coefficient: Tensor
    """Friction and softness of each tool [B, E, 2]."""
    wall_friction: Tensor
    """[B, 2 D]."""
    wall_velocity: Tensor
    """[B, 2 D, D]."""
    gravity: Tensor
    """[B, D]."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """The constants of a model in the form that the kernels read."""

    dimension: int
    dt: float
    dx: float
    lower: tuple[float, ...]
    cells: tuple[int, ...]
    substeps: int
    laws: tuple[Any, ...]
    kind: Tensor
    """The law of each particle, int32 [N]."""
    volume: Tensor
    """At rest [N]."""
    width: int
    keeps_shape: bool
    wall_kind: Tensor
    """int32 [2 D]."""
    sliding: bool
    """Whether walls have a velocity."""
    tools: int
    shape: Tensor
    """Samples along each axis of a tool's voxel grid, and where its samples start, int32 [E, D + 1]."""
    frame: Tensor
    """Lower corner and spacing of a tool's voxel grid [E, 2 D]."""
    table: Tensor
    """Samples of all tools, distance and gradient [S, D + 1]."""
    atomic: bool

    @property
    def blocks_per_axis(self) -> tuple[int, ...]:
        """Blocks along each axis of the padded grid."""
        return tuple((n + PAD - 1) // BLOCK + 3 for n in self.cells)


class Segment:
    """A run of substeps with one order of particles, and its memory: `depth` states and `depth - 1` grids, or two states in turn."""

    def __init__(self, scene: Scene, memory: Memory, layout: Layout, start: Particles, matter: Matter, first: Tensor, depth: int) -> None:
        d = scene.dimension
        self.scene, self.layout, self.depth, self._memory = scene, layout, depth, memory
        self.first = first
        """The substep of the control step at which each environment begins, int32 [B]."""
        self.done = torch.zeros_like(first)
        """How many substeps each did, int32 [B]."""
        flat = [field.reshape(-1, *field.shape[2:]) for field in (*start, *matter)]
        names = Particles._fields
        self.fields = Particles(
            *(memory.take(name, field, depth, len(layout.order), *field.shape[1:]) for name, field in zip(names, flat, strict=False))
        )
        for field, value in zip(self.fields, flat, strict=False):
            if value.numel():
                torch.index_select(value, 0, layout.order, out=field[0])
        self.matter = Matter(*(field[layout.order] for field in flat[5:]))
        if not scene.keeps_shape:
            self.fields = self.fields._replace(F=memory.take("F", start.x, 1, 1, d, d))
        particle = layout.order % scene.kind.shape[0]
        self.kind, self.volume = scene.kind[particle], scene.volume[particle]
        self.tile = memory.take("tile", start.x, layout.blocks.shape[0], TILE**d, d + 1)
        nodes = layout.slots.shape[0] * BLOCK**d
        grids = depth - 1
        self.raw = memory.take("raw", start.x, grids, nodes, d + 1)
        self.grid_velocity = memory.take("grid_velocity", start.x, grids, nodes, d + 1).zero_()  # some images of nodes are never written
        self.stress = memory.take("stress", start.x, grids, len(layout.order), d, d)

    def release(self) -> None:
        """Gives its memory to the next segment; nothing of it may be read after that."""
        arrays = {name: getattr(self, name) for name in ("tile", "raw", "grid_velocity", "stress")}
        self._memory.give(**self.fields._asdict(), **arrays)

    def end(self, like: Particles) -> Particles:
        """The particles after its last substep, in the order of the model."""
        index = self.done if self.depth > 2 else self.done % 2
        ends = index.unique().tolist()
        last = None if len(ends) == 1 else index.long()[self.layout.order // self.scene.kind.shape[0]]
        rows = torch.arange(len(self.layout.order), device=index.device)
        return Particles(
            *(
                self.unsorted(field[ends[0]] if last is None else field[last, rows], old) if old.numel() else old
                for field, old in zip(self.fields, like, strict=True)
            )
        )

    def unsorted(self, field: Tensor, like: Tensor) -> Tensor:
        """A sorted `[P, ...]` back in the order of the model, shaped as `like`, which has the values of inactive particles."""
        out = like.clone() if len(self.layout.order) < like.shape[0] * like.shape[1] else torch.empty_like(like)
        if like.numel():
            out.view(-1, *like.shape[2:])[self.layout.order] = field
        return out


class Engine:
    """The substeps of one control step of a scene, forward and in reverse, for any batch."""

    def __init__(self, scene: Scene) -> None:
        ti = taichi()
        self.scene = scene
        real = ti.f64 if scene.volume.dtype == torch.float64 else ti.f32
        key = (scene.dimension, real, scene.laws, scene.width, scene.keeps_shape, scene.tools > 0, scene.sliding, scene.atomic)
        self.substep, self.substeps = forward_kernels(*key)
        self._key = key
        self._threads = cpu_threads()
        self._memory = Memory()

    # ---- running

    def _geometry(self) -> tuple[Any, ...]:
        ti, scene = taichi(), self.scene
        return (ti.Vector(list(scene.lower)), ti.Vector(list(scene.cells)), ti.Vector(list(scene.blocks_per_axis)), scene.tools)

    def _surroundings(self, shared: Shared) -> tuple[Tensor, ...]:
        """What the kernels read of tools and walls, with the substep as the first axis of the motion of tools."""
        centre, rotation = shared.centre.transpose(0, 1).contiguous(), shared.rotation.transpose(0, 1).contiguous()
        scene = self.scene
        rest = [tensor.contiguous() for tensor in (shared.linear, shared.angular, shared.coefficient)]
        walls = (scene.wall_kind, shared.wall_friction.contiguous(), shared.wall_velocity.contiguous())
        return (shared.gravity.contiguous(), *walls, centre, rotation, *rest, scene.shape, scene.frame, scene.table)  # fmt: skip

    def segments(self, start: Particles, matter: Matter, shared: Shared, active: Tensor | None, keys: Tensor, first: int, last: int, flags: Tensor,
                 record: bool) -> Iterator[tuple[Segment, Particles]]:  # fmt: skip
        """Runs substeps `first` to `last`; yields each segment once it has run, and the particles after it. A
        segment that was not recorded has given its memory back by then.

        `keys` is brought up to date in the environments whose particles drifted too far from their blocks, and only there, so that
        an environment has the same bits alone and in a batch.
        """
        geometry, surroundings = self._geometry(), self._surroundings(shared)
        now = start
        step = torch.full((start.x.shape[0],), first, dtype=torch.int32, device=start.x.device)
        while bool((step < last).any()):
            layout = arrange(self.scene, keys, active)
            depth = last - int(step.min()) + 1 if record else 2
            segment = Segment(self.scene, self._memory, layout, now, matter, step, max(depth, 3) if record else 2)
            flags[1].zero_()
            if self.by_environment(start.x):
                self._run_environments(segment, last, record, geometry, surroundings, flags)
            else:
                self._run_stages(segment, last, record, geometry, surroundings, flags)
            step = segment.first + segment.done
            now = segment.end(now)
            moved = flags[1] > 0
            if bool(moved.any()):
                keys[moved] = cell_keys(self.scene, now.x[moved])
            if not record:
                segment.release()
            yield segment, now

    def by_environment(self, x: Tensor) -> bool:
        """Whether each environment runs on a thread of its own; otherwise all threads share every stage of a substep.

        Starting the stages costs as much as some thousand particles do.
        """
        return not self.scene.atomic and (x.shape[0] >= self._threads or x.shape[1] < ALONE)

    def _run_environments(self, segment: Segment, last: int, record: bool, geometry: Any, surroundings: Any, flags: Tensor) -> None:
        scene, layout = self.scene, segment.layout
        self.substeps(
            last, int(record), segment.first, segment.done, layout.ranges, scene.dt, scene.dx, *geometry, *segment.fields,
            segment.matter.mass,
            segment.volume, segment.matter.par, segment.kind, segment.stress, layout.blocks, layout.slots, layout.owner, layout.slot_of,
            flags, segment.tile,
            segment.raw, segment.grid_velocity, *surroundings,
        )  # fmt: skip

    def _run_stages(self, segment: Segment, last: int, record: bool, geometry: Any, surroundings: Any, flags: Tensor) -> None:
        scene, layout = self.scene, segment.layout
        step = int(segment.first[0])
        while step < last and not bool(flags[1].any()):
            t = int(segment.done[0])
            src, dst, rec = (t, t + 1, t) if record else (t % 2, (t + 1) % 2, 0)
            self.substep(
                src, dst, rec, step, scene.dt, scene.dx, *geometry, *segment.fields, segment.matter.mass, segment.volume,
                segment.matter.par, segment.kind, segment.stress, layout.blocks, layout.block_of, layout.slots, layout.owner,
                layout.slot_of, flags,
                segment.tile, segment.raw, segment.grid_velocity, *surroundings,
            )  # fmt: skip
            segment.done += 1
            step += 1

    def forward(self, start: Particles, matter: Matter, shared: Shared, active: Tensor | None) -> tuple[Particles, Tensor]:
        """The particles after all substeps, and the outcome of each environment, int32 [B].

        `active` [B, N] says which particles take part; None if all do. The others stay as they are.
        """
        if active is not None and not bool(active.any()):  # a kernel takes no empty array
            return Particles(*(field.clone() for field in start)), torch.zeros(len(active), dtype=torch.int32, device=active.device)
        keys = cell_keys(self.scene, start.x)
        flags = torch.zeros(2, start.x.shape[0], dtype=torch.int32, device=start.x.device)
        now = start
        for chunk in range(0, self.scene.substeps, CHUNK):
            run = self.segments(now, matter, shared, active, keys, chunk, min(chunk + CHUNK, self.scene.substeps), flags, False)
            _segment, now = deque(run, maxlen=1).pop()
        status = flags[0].clone()
        finite = torch.ones_like(status, dtype=torch.bool)
        for field in now:
            if field.numel():
                good = torch.isfinite(field)
                if active is not None:
                    good = good.reshape(*active.shape, -1) | ~active[..., None]
                finite &= good.flatten(1).all(1)
        status[~finite] = int(Outcome.NOT_FINITE)
        return now, status

    def backward(self, start: Particles, matter: Matter, shared: Shared, active: Tensor | None,
                 bar: Particles) -> tuple[Particles, Matter, Shared]:  # fmt: skip
        """The adjoint of `forward` for environments whose outcome was OK: of the particles, what they are made of, and what they share."""
        matter_bar = Matter(*(torch.zeros_like(field) for field in matter))
        shared_bar = Shared(*(torch.zeros_like(field) for field in shared))
        if active is not None and not bool(active.any()):
            return bar, matter_bar, shared_bar
        keys = cell_keys(self.scene, start.x)
        flags = torch.zeros(2, start.x.shape[0], dtype=torch.int32, device=start.x.device)
        substeps = self.scene.substeps
        chunks: list[tuple[Particles, Tensor]] = []
        now = start
        for chunk in range(0, substeps, CHUNK):
            chunks.append((now, keys.clone()))
            if chunk + CHUNK < substeps:
                run = self.segments(now, matter, shared, active, keys, chunk, chunk + CHUNK, flags, False)
                _segment, now = deque(run, maxlen=1).pop()
        for index in reversed(range(len(chunks))):
            now, keys = chunks[index]
            first = index * CHUNK
            run = self.segments(now, matter, shared, active, keys, first, min(first + CHUNK, substeps), flags, True)
            for segment in reversed([segment for segment, _now in run]):
                bar = self._reverse(segment, matter_bar, shared, shared_bar, bar)
                segment.release()
        return bar, matter_bar, shared_bar

    def _reverse(self, segment: Segment, matter_bar: Matter, shared: Shared, shared_bar: Shared, bar: Particles) -> Particles:
        """The adjoint of a recorded segment: takes `bar` from its end to its start, and adds to `matter_bar` and `shared_bar`."""
        scene, layout = self.scene, segment.layout
        d = scene.dimension
        substep_adjoint, substeps_adjoint = backward_kernels(*self._key)
        bars = [field.reshape(-1, *field.shape[2:])[layout.order] if field.numel() else field.new_zeros(1, d, d) for field in bar]
        mass_bar, par_bar = (torch.zeros_like(field) for field in segment.matter)
        bars += [mass_bar, par_bar]
        sums = mass_bar.new_zeros(segment.depth - 1, layout.slots.shape[0], shared_width(d, scene.tools, scene.sliding))
        tile_bar, raw_bar = torch.empty_like(segment.tile), torch.zeros_like(segment.raw[:1])
        velocity_bar = torch.zeros_like(raw_bar)
        before = (
            scene.dt,
            scene.dx,
            *self._geometry(),
            *segment.fields,
            segment.matter.mass,
            segment.volume,
            segment.matter.par,
            segment.kind,
            segment.stress,
        )
        after = (segment.tile, tile_bar, segment.raw, segment.grid_velocity, raw_bar, velocity_bar, *self._surroundings(shared))
        if self.by_environment(bar.x):
            substeps_adjoint(segment.first, segment.done, layout.ranges, *before, *bars, sums, layout.blocks, layout.slots, layout.owner,
                             layout.slot_of, *after)  # fmt: skip
        else:
            for t in reversed(range(int(segment.done[0]))):
                substep_adjoint(t, t, int(segment.first[0]) + t, *before, *bars, sums, layout.blocks, layout.block_of, layout.slots,
                                layout.owner, layout.slot_of, *after)  # fmt: skip
        for total, part in zip(matter_bar, (mass_bar, par_bar), strict=True):
            total.view(-1, *total.shape[2:])[layout.order] += part
        self._add_shared(segment, sums, shared_bar)
        return Particles(*(segment.unsorted(b, like) if like.numel() else like for b, like in zip(bars, bar, strict=False)))

    def _add_shared(self, segment: Segment, sums: Tensor, shared_bar: Shared) -> None:
        """Sums the blocks' shares of the shared parameters over each environment, in a fixed order."""
        d, tools, start = self.scene.dimension, self.scene.tools, first_tool(self.scene.dimension, self.scene.sliding)
        batch = shared_bar.gravity.shape[0]
        total = sums.new_zeros(batch, *sums.shape[::2])
        total.index_add_(0, segment.layout.slots[:, d].long(), sums.transpose(0, 1))
        shared_bar.gravity.add_(total[..., :d].sum(1))
        shared_bar.wall_friction.add_(total[..., d : 3 * d].sum(1))
        if self.scene.sliding:
            shared_bar.wall_velocity.add_(total[..., 3 * d : start].sum(1).unflatten(-1, (2 * d, d)))
        if tools:
            parts = total[..., start:].unflatten(-1, (tools, tool_width(d)))
            centre, rotation, linear, angular, coefficient = parts.split([d, d * d, d, shared_bar.angular.shape[-1], 2], -1)
            env, t = (torch.arange(total.shape[1], device=total.device) < segment.done[:, None]).nonzero().unbind(1)
            substep = segment.first.long()[env] + t
            shared_bar.centre[env, substep] += centre[env, t]
            shared_bar.rotation[env, substep] += rotation[env, t].unflatten(-1, (d, d))
            shared_bar.linear.add_(linear.sum(1))
            shared_bar.angular.add_(angular.sum(1))
            shared_bar.coefficient.add_(coefficient.sum(1))
