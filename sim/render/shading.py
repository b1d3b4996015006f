"""The shading kernel: light, shadow, the ground, one translucent layer over the opaque picture, and the mean of the samples of a pixel."""

# mypy: ignore-errors
# Taichi reads annotations of its own, which are no types.

import taichi as ti

from .kernels import (
    BITS,
    BYTE4,
    FAR,
    INT1,
    REAL1,
    REAL2,
    REAL3,
    REAL4,
    corners_of,
    edges,
    lens_of,
    rows,
    slope,
    to_view,
)

AMBIENT = 0.4
"""Light from the sky on what faces up; a quarter of it comes from below."""
KEY = 0.6
"""Light of the lamp on what faces it."""

FLAT, PLAIN, SHADOWED = -1, 0, 1
"""Lamp and sky at the viewer, so that what faces him has its own colour; lamp and sky; the same with shadows."""


@ti.func
def lit(view: ti.template(), light_view: ti.template(), light_bits: ti.template(), plane, point, normal):
    """Part of the lamp that reaches a point: mean of 12 samples of the shadow map."""
    reach = 0.0
    texel = 1.0 / light_view[12]
    place = to_view(light_view, point + normal * (2.5 * texel))
    x = light_view[14] + light_view[12] * place[0] - 0.5
    y = light_view[15] - light_view[13] * place[1] - 0.5
    column = ti.cast(ti.floor(x), ti.i32)
    row = ti.cast(ti.floor(y), ti.i32)
    if column < 1 or row < 1 or column > light_bits.shape[2] - 3 or row > light_bits.shape[1] - 3 or place[2] <= 0.0:
        reach = 1.0
    else:
        fx = x - column
        fy = y - row
        for j in range(4):
            for i in range(4):
                wx = ti.select(i == 0, 1.0 - fx, ti.select(i == 3, fx, 1.0))
                wy = ti.select(j == 0, 1.0 - fy, ti.select(j == 3, fy, 1.0))
                if ti.bit_cast(place[2] - 0.5 * texel, ti.i32) <= light_bits[plane, row + j - 1, column + i - 1]:
                    reach += wx * wy / 9.0
    return reach


@ti.func
def surface(
    view: ti.template(),
    lens,
    spheres: ti.template(),
    sphere_colors: ti.template(),
    sphere_count,
    triangles: ti.template(),
    normals: ti.template(),
    colors: ti.template(),
    item,
    at,
    depth,
):
    """Unit normal that faces the viewer (world axes) and colour of what a sample shows."""
    normal = ti.Vector([0.0, 0.0, 0.0])
    color = ti.Vector([0.0, 0.0, 0.0])
    if item < sphere_count:
        place = to_view(view, ti.Vector([spheres[item, 0], spheres[item, 1], spheres[item, 2]]))
        stretch = lens[4] + (1.0 - lens[4]) * depth
        normal = rows(view).transpose() @ (ti.Vector([at[0] * stretch, at[1] * stretch, depth]) - place)
        color = ti.Vector([sphere_colors[item, 0], sphere_colors[item, 1], sphere_colors[item, 2]])
    else:
        face = item - sphere_count
        area, _ = edges(lens, at, corners_of(view, triangles, face))
        total = area.sum()
        for k in range(3):
            normal += area[k] / total * ti.Vector([normals[face, k, 0], normals[face, k, 1], normals[face, k, 2]])
            color += area[k] / total * ti.Vector([colors[face, k, 0], colors[face, k, 1], colors[face, k, 2]])
        # Corners that turn counter-clockwise on the screen (y up) show the side that the normals point out of.
        normal *= ti.select(total > 0.0, 1.0, -1.0)
    return normal / ti.max(normal.norm(), 1e-30), ti.max(color, 0.0)


@ti.func
def tone(value):
    """Display value 0..255 of linear light."""
    return ti.cast(ti.floor(ti.sqrt(ti.min(ti.max(value, 0.0), 1.0)) * 255.0 + 0.5), ti.u8)


@ti.kernel
def shade(
    spheres: REAL2,
    sphere_colors: REAL2,
    sphere_count: ti.i32,
    triangles: REAL3,
    normals: REAL3,
    colors: REAL3,
    alpha: REAL1,
    ground: REAL1,
    view: REAL1,
    scene: REAL2,
    depth_bits: BITS,
    nearest: BITS,
    light_view: REAL1,
    light_bits: BITS,
    mode: INT1,
    samples: ti.i32,
    rgb: BYTE4,
    depth_out: BITS,
    normal_out: REAL4,
):
    """Writes the picture; `mode` is FLAT, PLAIN or SHADOWED for each drawing.

    `scene` holds the directions to the lamp and to the sky, the target of the view, the colours of top, bottom and ground, and the
    distance over which the ground fades.
    """
    for b, y, x in ti.ndrange(rgb.shape[0], rgb.shape[1], rgb.shape[2]):
        lamp = ti.Vector([scene[0, 0], scene[0, 1], scene[0, 2]])
        sky = ti.Vector([scene[1, 0], scene[1, 1], scene[1, 2]])
        eye = ti.Vector([view[0], view[1], view[2]])
        frame = rows(view)
        lens = lens_of(view)
        if mode[b] == FLAT:
            lamp = -ti.Vector([view[9], view[10], view[11]])
            sky = lamp
        mean = ti.Vector([0.0, 0.0, 0.0])
        shown = FAR
        shown_normal = ti.Vector([0.0, 0.0, 0.0])
        for s in range(samples * samples):
            row = y * samples + s // samples
            column = x * samples + s % samples
            at = slope(lens, column, row)
            start = eye + frame.transpose() @ (ti.Vector([at[0], at[1], 0.0]) * lens[4])
            ray = frame.transpose() @ ti.Vector([at[0] * (1.0 - lens[4]), at[1] * (1.0 - lens[4]), 1.0])
            share = (row + 0.5) / ti.cast(rgb.shape[1] * samples, ti.f32)
            light = ti.Vector([0.0, 0.0, 0.0])
            for axis in range(3):
                light[axis] = scene[3, axis] + (scene[4, axis] - scene[3, axis]) * share
            bits = depth_bits[b, row, column]
            item = nearest[b, row, column]
            color = light
            normal = ti.Vector([0.0, 0.0, 0.0])
            blend = 0.0
            if ray[2] < -1e-6 and ground[b] > -1e30:
                reach = (ground[b] - start[2]) / ray[2]
                if reach > lens[5] and ti.bit_cast(reach, ti.i32) < bits:
                    bits = ti.bit_cast(reach, ti.i32)
                    item = -1
                    normal = ti.Vector([0.0, 0.0, 1.0])
                    color = ti.Vector([scene[5, 0], scene[5, 1], scene[5, 2]])
                    away = (start + reach * ray - ti.Vector([scene[2, 0], scene[2, 1], scene[2, 2]])) / scene[6, 0]
                    blend = 1.0 / (1.0 + away.dot(away) * away.dot(away))
            depth = 0.0
            if bits < FAR:
                depth = ti.bit_cast(bits, ti.f32)
            if item >= 0:
                normal, color = surface(view, lens, spheres, sphere_colors, sphere_count, triangles, normals, colors, item, at, depth)
                blend = 1.0
            if bits < FAR:
                facing = ti.max(normal.dot(lamp), 0.0)
                if mode[b] == SHADOWED and facing > 0.0:
                    facing *= lit(view, light_view, light_bits, b, start + depth * ray, normal)
                light += blend * (color * (KEY * facing + AMBIENT * (0.625 + 0.375 * normal.dot(sky))) - light)
            if nearest.shape[0] > rgb.shape[0]:
                over = nearest[b + rgb.shape[0], row, column]
                over_bits = depth_bits[b + rgb.shape[0], row, column]
                if over >= 0 and over_bits < bits:
                    pane_depth = ti.bit_cast(over_bits, ti.f32)
                    pane, tint = surface(view, lens, spheres, sphere_colors, sphere_count, triangles, normals, colors, over, at, pane_depth)
                    toward = -ray.normalized()
                    graze = 1.0 - ti.min(ti.abs(pane.dot(toward)), 1.0)
                    cover = alpha[over - sphere_count]
                    cover += (1.0 - cover) * 0.75 * graze * graze * graze
                    half = (lamp + toward).normalized()
                    gleam = ti.max(pane.dot(half), 0.0)
                    for _ in range(6):
                        gleam *= gleam
                    glow = tint * (KEY * ti.abs(pane.dot(lamp)) + AMBIENT * (0.625 + 0.375 * pane.dot(sky)))
                    light += cover * (glow - light) + 0.5 * gleam
                    bits = over_bits
                    normal = pane
            mean += ti.min(light, 1.0) / ti.cast(samples * samples, ti.f32)
            if bits < shown:
                shown = bits
                shown_normal = normal
        depth_out[b, y, x] = shown
        for axis in range(3):
            rgb[b, y, x, axis] = tone(mean[axis])
            normal_out[b, y, x, axis] = shown_normal[axis]
