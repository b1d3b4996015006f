"""Rasteriser kernels: items sorted into screen tiles, one thread a tile, so that no float atomic decides a pixel.

Spheres are hit exactly (ray and sphere); triangles by the sheared edge functions of Woop, Benthin and Wald 2013, "Watertight ray/triangle
intersection", which need no clipping. Items are numbered: spheres first, then triangles. A nearer item wins, and of two at one depth the
lower number, whatever the order of threads. The order inside a tile's list is arbitrary; the picture does not depend on it.

A view is an array [18]: eye (3), axes right, up and forward (9), pixels per unit x and y (2), centre pixel x and y (2), 1 if orthographic,
near distance [m]. All numbers are f32; colours inside are squares of display colours, so that light adds up as light does.
"""

# mypy: ignore-errors
# Taichi reads annotations of its own, which are no types.

import taichi as ti

BITS = ti.types.ndarray(dtype=ti.i32, ndim=3)
INT1 = ti.types.ndarray(dtype=ti.i32, ndim=1)
INT2 = ti.types.ndarray(dtype=ti.i32, ndim=2)
REAL1 = ti.types.ndarray(dtype=ti.f32, ndim=1)
REAL2 = ti.types.ndarray(dtype=ti.f32, ndim=2)
REAL3 = ti.types.ndarray(dtype=ti.f32, ndim=3)
REAL4 = ti.types.ndarray(dtype=ti.f32, ndim=4)
BYTE4 = ti.types.ndarray(dtype=ti.u8, ndim=4)

FAR = 0x7F800000
"""The bits of +inf; those of positive floats order as integers do."""
EDGE = 1e-4
"""Triangles are this many pixels wider than they are, so that no gap opens along a shared edge."""
SMALLEST = 0.75
"""Least radius of a sphere on the screen [samples]: a particle is never lost between two samples."""


@ti.func
def rows(view: ti.template()):
    """Right, up and forward, one a row."""
    return ti.Matrix([[view[3], view[4], view[5]], [view[6], view[7], view[8]], [view[9], view[10], view[11]]])


@ti.func
def to_view(view: ti.template(), point):
    """A point of the world in view coordinates: right, up, depth [m]."""
    return rows(view) @ (point - ti.Vector([view[0], view[1], view[2]]))


@ti.func
def lens_of(view: ti.template()):
    """The optics of a view in registers: pixels per unit x and y, centre pixel x and y, 1 if orthographic, near distance."""
    return ti.Vector([view[12], view[13], view[14], view[15], view[16], view[17]])


@ti.func
def weight(lens, place):
    """What a place in view coordinates is divided by: its depth, or one in an orthographic view."""
    return lens[4] + (1.0 - lens[4]) * place[2]


@ti.func
def slope(lens, column, row):
    """Where the ray of a sample crosses the plane at depth one."""
    return ti.Vector([(column + 0.5 - lens[2]) / lens[0], (lens[3] - row - 0.5) / lens[1]])


@ti.func
def shown_radius(lens, place, radius):
    """The radius that a sphere is drawn with [m]."""
    return ti.max(radius, SMALLEST * weight(lens, place) / ti.min(lens[0], lens[1]))


@ti.func
def hit_sphere(lens, at, place, radius):
    """Depth of the first hit, or a negative number."""
    start = ti.Vector([at[0], at[1], 0.0]) * lens[4]
    ray = ti.Vector([at[0] * (1.0 - lens[4]), at[1] * (1.0 - lens[4]), 1.0])
    length = ray.dot(ray)
    nearest = ray.dot(place - start) / length
    miss = start + nearest * ray - place
    inside = radius * radius - miss.dot(miss)
    depth = -1.0
    if inside >= 0.0:
        depth = nearest - ti.sqrt(inside / length)
    return depth


@ti.func
def edges(lens, at, corners):
    """Twice the signed areas that the sample spans with each side [pixels^2], and how far below zero they may round."""
    scale = ti.Vector([lens[0], lens[1]])
    weights = ti.Vector([weight(lens, corners[0, :]), weight(lens, corners[1, :]), weight(lens, corners[2, :])])
    a = (ti.Vector([corners[0, 0], corners[0, 1]]) - at * weights[0]) * scale
    b = (ti.Vector([corners[1, 0], corners[1, 1]]) - at * weights[1]) * scale
    c = (ti.Vector([corners[2, 0], corners[2, 1]]) - at * weights[2]) * scale
    area = ti.Vector([b.cross(c), c.cross(a), a.cross(b)])
    length = ti.Vector([a.norm(), b.norm(), c.norm()])
    slack = EDGE * ti.abs(weights).max() * ti.Vector([length[1] + length[2], length[2] + length[0], length[0] + length[1]])
    return area, slack


@ti.func
def hit_triangle(lens, at, corners):
    """Depth of the hit, or a negative number."""
    area, slack = edges(lens, at, corners)
    total = area.sum()
    depth = -1.0
    if total != 0.0:
        turn = ti.select(total > 0.0, 1.0, -1.0)
        if (turn * area + slack).min() >= 0.0:
            depth = (area[0] * corners[0, 2] + area[1] * corners[1, 2] + area[2] * corners[2, 2]) / total
    return depth


@ti.func
def corners_of(view: ti.template(), triangles: ti.template(), face):
    """The corners of a triangle in view coordinates, one a row."""
    corners = ti.Matrix.zero(ti.f32, 3, 3)
    for k in range(3):
        place = to_view(view, ti.Vector([triangles[face, k, 0], triangles[face, k, 1], triangles[face, k, 2]]))
        for axis in range(3):
            corners[k, axis] = place[axis]
    return corners


@ti.func
def span(low, high, size):
    """First and one past the last sample whose centre lies within low..high [pixels], give or take a hundredth."""
    limit = ti.cast(size, ti.f32)
    first = ti.cast(ti.ceil(ti.min(ti.max(low - 0.51, 0.0), limit)), ti.i32)
    last = ti.cast(ti.floor(ti.min(ti.max(high + 0.51, 0.0), limit)), ti.i32)
    return first, last


@ti.func
def limits(across, depth, radius):
    """Lowest and highest slope of the lines from the origin that touch a circle."""
    square = ti.max(across * across + depth * depth - radius * radius, 0.0)
    below = depth * depth - radius * radius
    return (across * depth - radius * ti.sqrt(square)) / below, (across * depth + radius * ti.sqrt(square)) / below


@ti.kernel
def bound(spheres: REAL2, triangles: REAL3, sphere_count: ti.i32, view: REAL1, width: ti.i32, height: ti.i32, box: INT2):
    """Writes the samples x0, y0, x1, y1 (ends excluded) that each item can touch; none for what lies before the near distance."""
    for item in range(box.shape[0]):
        lens = lens_of(view)
        low = ti.Vector([1.0, 1.0])
        high = ti.Vector([-1.0, -1.0])
        seen = False
        if item < sphere_count:
            place = to_view(view, ti.Vector([spheres[item, 0], spheres[item, 1], spheres[item, 2]]))
            radius = shown_radius(lens, place, spheres[item, 3])
            if place[2] - radius > lens[5]:
                seen = True
                if lens[4] > 0.5:
                    low = ti.Vector([place[0] - radius, place[1] - radius])
                    high = ti.Vector([place[0] + radius, place[1] + radius])
                else:
                    low[0], high[0] = limits(place[0], place[2], radius)
                    low[1], high[1] = limits(place[1], place[2], radius)
        else:
            corners = corners_of(view, triangles, item - sphere_count)
            nearest = ti.min(corners[0, 2], corners[1, 2], corners[2, 2])
            if ti.max(corners[0, 2], corners[1, 2], corners[2, 2]) > lens[5]:
                seen = True
                if nearest > lens[5]:
                    low = ti.Vector([1e30, 1e30])
                    high = ti.Vector([-1e30, -1e30])
                    for k in range(3):
                        scale = 1.0 / (lens[4] + (1.0 - lens[4]) * corners[k, 2])
                        low = ti.min(low, ti.Vector([corners[k, 0], corners[k, 1]]) * scale)
                        high = ti.max(high, ti.Vector([corners[k, 0], corners[k, 1]]) * scale)
                else:
                    low = ti.Vector([-1e30, -1e30])
                    high = ti.Vector([1e30, 1e30])
        for k in range(4):
            box[item, k] = 0
        if seen:
            x0, x1 = span(lens[2] + lens[0] * low[0], lens[2] + lens[0] * high[0], width)
            y0, y1 = span(lens[3] - lens[1] * high[1], lens[3] - lens[1] * low[1], height)
            box[item, 0] = x0
            box[item, 1] = y0
            box[item, 2] = x1
            box[item, 3] = y1


@ti.kernel
def count_tiles(box: INT2, plane: INT1, tile: ti.i32, count: INT1):
    """Writes how many tiles each item touches."""
    for item in range(box.shape[0]):
        count[item] = 0
        if plane[item] >= 0 and box[item, 0] < box[item, 2] and box[item, 1] < box[item, 3]:
            wide = (box[item, 2] - 1) // tile - box[item, 0] // tile + 1
            count[item] = wide * ((box[item, 3] - 1) // tile - box[item, 1] // tile + 1)


@ti.kernel
def pair(box: INT2, plane: INT1, tile: ti.i32, columns: ti.i32, lines: ti.i32, end: INT1, owner: INT1, key: INT1):
    """Writes item and tile number of each pair of them; the pairs of an item end before `end`."""
    for item in range(box.shape[0]):
        first = 0
        if item > 0:
            first = end[item - 1]
        row = box[item, 1] // tile
        column = box[item, 0] // tile
        wide = (box[item, 2] - 1) // tile - column + 1
        for k in range(end[item] - first):
            owner[first + k] = item
            key[first + k] = (plane[item] * lines + row + k // wide) * columns + column + k % wide


@ti.kernel
def count_items(key: INT1, count: INT1):
    """Adds the pairs of each tile to `count`."""
    # Over pairs and not over items: in a loop whose length differs between threads, Mesa's Vulkan driver loses integer atomics.
    for k in range(key.shape[0]):
        ti.atomic_add(count[key[k]], 1)


@ti.kernel
def list_items(key: INT1, owner: INT1, cursor: INT1, listing: INT1):
    """Writes the items of each tile from where its `cursor` stands on, in any order."""
    for k in range(key.shape[0]):
        listing[ti.atomic_add(cursor[key[k]], 1)] = owner[k]


@ti.kernel
def rasterise(
    spheres: REAL2,
    triangles: REAL3,
    sphere_count: ti.i32,
    view: REAL1,
    box: INT2,
    start: INT1,
    listing: INT1,
    tile: ti.i32,
    columns: ti.i32,
    lines: ti.i32,
    depth_bits: BITS,
    nearest: BITS,
):
    """Fills depth (bits of f32) and item number of each sample, -1 where there is none; each tile belongs to one thread."""
    for key in range(start.shape[0] - 1):
        lens = lens_of(view)
        plane = key // (columns * lines)
        top = key // columns % lines * tile
        left = key % columns * tile
        bottom = ti.min(top + tile, nearest.shape[1])
        right = ti.min(left + tile, nearest.shape[2])
        for y in range(top, bottom):
            for x in range(left, right):
                depth_bits[plane, y, x] = FAR
                nearest[plane, y, x] = -1
        for k in range(start[key], start[key + 1]):
            item = listing[k]
            place = ti.Vector([0.0, 0.0, 0.0])
            corners = ti.Matrix.zero(ti.f32, 3, 3)
            radius = 0.0
            first = 0.0
            if item < sphere_count:
                place = to_view(view, ti.Vector([spheres[item, 0], spheres[item, 1], spheres[item, 2]]))
                radius = shown_radius(lens, place, spheres[item, 3])
                first = 0.999 * (place[2] - radius)
            else:
                corners = corners_of(view, triangles, item - sphere_count)
                first = 0.999 * ti.min(corners[0, 2], corners[1, 2], corners[2, 2])
            closest = ti.bit_cast(ti.max(first, 0.0), ti.i32)
            for y in range(ti.max(top, box[item, 1]), ti.min(bottom, box[item, 3])):
                for x in range(ti.max(left, box[item, 0]), ti.min(right, box[item, 2])):
                    before = depth_bits[plane, y, x]
                    if closest <= before:
                        at = slope(lens, x, y)
                        depth = -1.0
                        if item < sphere_count:
                            depth = hit_sphere(lens, at, place, radius)
                        else:
                            depth = hit_triangle(lens, at, corners)
                        if depth > lens[5]:
                            bits = ti.bit_cast(depth, ti.i32)
                            if bits < before or (bits == before and item < nearest[plane, y, x]):
                                depth_bits[plane, y, x] = bits
                                nearest[plane, y, x] = item


@ti.func
def face_normal(triangles: ti.template(), face):
    """Normal of a triangle, twice its area long."""
    a = ti.Vector([triangles[face, 0, 0], triangles[face, 0, 1], triangles[face, 0, 2]])
    b = ti.Vector([triangles[face, 1, 0], triangles[face, 1, 1], triangles[face, 1, 2]])
    c = ti.Vector([triangles[face, 2, 0], triangles[face, 2, 1], triangles[face, 2, 2]])
    return (b - a).cross(c - a)


@ti.kernel
def corner_normals(triangles: REAL3, vertex: INT1, start: INT1, around: INT1, crease: REAL1, normals: REAL3):
    """Mean normal at each corner over those faces around its vertex that bend from its own by less than `crease` (a cosine)."""
    for face in range(crease.shape[0]):
        own = face_normal(triangles, face)
        size = own.norm()
        for k in range(3):
            total = own
            corner = vertex[3 * face + k]
            for j in range(start[corner], start[corner + 1]):
                other = around[j] // 3
                normal = face_normal(triangles, other)
                if other != face and own.dot(normal) > crease[face] * size * normal.norm():
                    total += normal
            length = total.norm()
            for axis in range(3):
                normals[face, k, axis] = total[axis] / ti.max(length, 1e-30)
