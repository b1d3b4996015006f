"""What a moving tool or a wall does to the velocity of a grid node, and the derivative of it.

A tool is a signed distance on a voxel grid, carried by a rigid motion. Nodes inside it may not approach its surface,
and feel Coulomb friction;
nodes within `softness` [m] of it feel a smoothly fading share of that, which keeps derivatives alive before contact.
"""

from ..runtime import taichi

ti = taichi()


@ti.func
def coulomb(u, n, friction):
    """The velocity `u` relative to a surface of outward normal `n`, after a contact that lets it separate and slide with friction."""
    un = u.dot(n)
    w = u
    if un < 0:
        ut = u - un * n
        speed = ti.sqrt(ut.dot(ut))
        if speed > -friction * un:
            w = ut * (1 + friction * un / speed)
        else:
            w = ut * 0
    return w


@ti.func
def coulomb_adjoint(u, n, friction, w_bar):
    """The derivatives of <w_bar, coulomb(u, n, friction)> with respect to u, n and friction."""
    un = u.dot(n)
    u_bar = w_bar
    n_bar = u * 0
    friction_bar = un * 0
    if un < 0:
        ut = u - un * n
        speed = ti.sqrt(ut.dot(ut))
        ut_bar = u * 0
        un_bar = un * 0
        if speed > -friction * un:
            share_bar = w_bar.dot(ut)
            ut_bar = w_bar * (1 + friction * un / speed) - ut * (share_bar * friction * un / (speed * speed * speed))
            un_bar = share_bar * friction / speed
            friction_bar = share_bar * un / speed
        un_bar -= ut_bar.dot(n)
        u_bar = ut_bar + un_bar * n
        n_bar = un_bar * u - un * ut_bar
    return u_bar, n_bar, friction_bar


@ti.func
def influence(distance, softness):
    """How much a node at `distance` [m] feels of a tool: 1 inside, fading to 0 at `softness` with a continuous slope."""
    share = distance * 0
    if distance <= 0:
        share += 1
    elif distance < softness:
        t = distance / softness
        share = (1 - t) * (1 - t) * (1 + 2 * t)
    return share


@ti.func
def influence_slopes(distance, softness):
    """The derivatives of `influence` with respect to distance and softness."""
    by_distance = distance * 0
    by_softness = distance * 0
    if distance > 0 and distance < softness:
        t = distance / softness
        by_distance = -6 * t * (1 - t) / softness
        by_softness = -by_distance * t
    return by_distance, by_softness


@ti.func
def spin(angular, r):
    """The velocity of a point at `r` from the centre of a body that turns: angular x r. In two dimensions `angular` has one component."""
    v = r
    if ti.static(r.n == 2):
        v[0] = -angular[0] * r[1]
        v[1] = angular[0] * r[0]
    else:
        v = angular.cross(r)
    return v


@ti.func
def spin_adjoint(angular, r, v_bar):
    """The derivatives of <v_bar, spin(angular, r)> with respect to both."""
    angular_bar = angular
    r_bar = r
    if ti.static(r.n == 2):
        angular_bar[0] = r[0] * v_bar[1] - r[1] * v_bar[0]
        r_bar[0] = angular[0] * v_bar[1]
        r_bar[1] = -angular[0] * v_bar[0]
    else:
        angular_bar = r.cross(v_bar)
        r_bar = v_bar.cross(angular)
    return angular_bar, r_bar


@ti.func
def voxel(dim: ti.template(), e, y, shape: ti.template(), frame: ti.template()):
    """The voxel of tool `e` that holds the local point `y`: whether there is one, its first corner, and the place in it."""
    inside = 1
    corner = ti.Vector.zero(ti.i32, dim)
    place = y
    for a in ti.static(range(dim)):
        place[a] = (y[a] - frame[e, a]) / frame[e, dim + a]
        corner[a] = ti.floor(place[a], ti.i32)
        if corner[a] < 0 or corner[a] > shape[e, a] - 2:
            inside = 0
        place[a] -= corner[a]
    return inside, corner, place


@ti.func
def corner_value(dim: ti.template(), e, c, corner, shape: ti.template(), table: ti.template()):
    """The samples of tool `e` at the c-th corner of a voxel: distance, then gradient."""
    index = corner[0] + (c & 1)
    for a in ti.static(range(1, dim)):
        index = index * shape[e, a] + corner[a] + ((c >> a) & 1)
    return table[shape[e, dim] + index]


@ti.func
def sample(dim: ti.template(), e, corner, place, shape: ti.template(), table: ti.template()):
    """Distance and gradient at a place in a voxel, both interpolated linearly along each axis."""
    total = table[0] * 0
    for c in range(2**dim):
        w = place[0] * 0 + 1
        for a in ti.static(range(dim)):
            w *= place[a] if (c >> a) & 1 else 1 - place[a]
        total += w * corner_value(dim, e, c, corner, shape, table)
    return total


@ti.func
def sample_slopes(dim: ti.template(), e, corner, place, shape: ti.template(), table: ti.template(), frame: ti.template()):
    """Derivatives of `sample` along each axis, as the columns of a matrix [D + 1, D]."""
    zero = table[0] * 0
    columns = ti.Matrix.cols([zero for _ in ti.static(range(dim))])
    for c in range(2**dim):
        value = corner_value(dim, e, c, corner, shape, table)
        for a in ti.static(range(dim)):
            w = (1 if (c >> a) & 1 else -1) / frame[e, dim + a]
            for b in ti.static(range(dim)):
                if ti.static(b != a):
                    w *= place[b] if (c >> b) & 1 else 1 - place[b]
            for i in ti.static(range(dim + 1)):
                columns[i, a] += w * value[i]
    return columns


@ti.func
def local_frame(X, centre, rotation):
    """A point relative to a tool's centre, in the world's axes and in the tool's."""
    r = X - centre
    return r, rotation.transpose() @ r


@ti.func
def tool_velocity(
    dim: ti.template(),
    e,
    X,
    v,
    centre,
    rotation,
    linear,
    angular,
    coefficient,
    shape: ti.template(),
    frame: ti.template(),
    table: ti.template(),
):
    """The velocity of the node at X after tool `e` acted on it. `coefficient` holds friction and softness [m]."""
    r, y = local_frame(X, centre, rotation)
    inside, corner, place = voxel(dim, e, y, shape, frame)
    result = v
    if inside:
        found = sample(dim, e, corner, place, shape, table)
        share = influence(found[0], coefficient[1])
        g = ti.Vector([found[1 + a] for a in ti.static(range(dim))])
        length = ti.sqrt(g.dot(g))
        if share > 0 and length > 0:
            u = v - linear - spin(angular, r)
            result = v + share * (coulomb(u, rotation @ g / length, coefficient[0]) - u)
    return result


@ti.func
def tool_adjoint(
    dim: ti.template(),
    e,
    X,
    v,
    v1_bar,
    centre,
    rotation,
    linear,
    angular,
    coefficient,
    shape: ti.template(),
    frame: ti.template(),
    table: ti.template(),
):
    """The adjoint of `tool_velocity`: of v, centre, rotation, linear, angular, coefficient, and whether the tool touched the node at all."""
    r, y = local_frame(X, centre, rotation)
    inside, corner, place = voxel(dim, e, y, shape, frame)
    v_bar = v1_bar
    centre_bar = v * 0
    rotation_bar = rotation * 0
    linear_bar = v * 0
    angular_bar = angular * 0
    coefficient_bar = coefficient * 0
    touched = 0
    if inside:
        found = sample(dim, e, corner, place, shape, table)
        share = influence(found[0], coefficient[1])
        g = ti.Vector([found[1 + a] for a in ti.static(range(dim))])
        length = ti.sqrt(g.dot(g))
        if share > 0 and length > 0:
            touched = 1
            local_n = g / length
            n = rotation @ local_n
            u = v - linear - spin(angular, r)
            share_bar = v1_bar.dot(coulomb(u, n, coefficient[0]) - u)
            u_bar, n_bar, friction_bar = coulomb_adjoint(u, n, coefficient[0], share * v1_bar)
            u_bar -= share * v1_bar
            v_bar += u_bar
            linear_bar = -u_bar
            angular_bar, r_bar = spin_adjoint(angular, r, -u_bar)
            by_distance, by_softness = influence_slopes(found[0], coefficient[1])
            coefficient_bar[0] = friction_bar
            coefficient_bar[1] = share_bar * by_softness
            local_bar = rotation.transpose() @ n_bar
            g_bar = (local_bar - local_n * local_n.dot(local_bar)) / length
            columns = sample_slopes(dim, e, corner, place, shape, table, frame)
            y_bar = v * 0
            for a in ti.static(range(dim)):
                y_bar[a] = share_bar * by_distance * columns[0, a]
                for i in ti.static(range(dim)):
                    y_bar[a] += g_bar[i] * columns[1 + i, a]
            r_bar += rotation @ y_bar
            rotation_bar = n_bar.outer_product(local_n) + r.outer_product(y_bar)
            centre_bar = -r_bar
    return v_bar, centre_bar, rotation_bar, linear_bar, angular_bar, coefficient_bar, touched
