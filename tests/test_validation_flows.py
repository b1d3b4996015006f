"""Liquids that slosh, run out, spread, are dragged along, and bear each other and blocks."""

import math

import numpy as np
import pytest
import torch

from pliant.errors import OptionError
from pliant.sim.materials import Liquid
from pliant.sim.mpm import MpmModel
from pliant.validation import mpm_flows, mpm_fluids, mpm_layers, run_case
from pliant.validation.mpm_flows import SHAPE, huppert_front, settled
from pliant.validation.mpm_fluids import couette_velocity

QUICK = [
    ("mpm.sloshing", {"depth": 0.5, "length": 0.3, "cells": 8}),
    ("mpm.couette", {"viscosity": 3.0, "cells": 12}),
    ("mpm.torricelli", {"head": 0.5, "orifice": 0.1, "cells": 8}),
    ("mpm.layers", {"density_above": 300.0, "density_below": 1500.0, "depth": 0.4, "cells": 7}),
    ("mpm.buoyancy", {"density_solid": 800.0, "density_liquid": 1200.0, "height": 0.3, "cells": 6}),
]


@pytest.mark.parametrize(("name", "params"), QUICK)
def test_a_quick_case_passes_for_other_parameters_than_its_defaults(name, params):
    result = run_case(name, params)
    assert result.passed, [str(check) for check in result.checks]


def test_a_settled_column_bears_its_own_weight_and_a_load():
    depth, bulk, density, rows, load = 0.7, 5e4, 1200.0, 4000, 3e3
    height, ratio, thickness = settled(depth, rows, bulk, density, load)
    pressure = bulk / 7 * (ratio**-7 - 1)
    above = load + density * 9.81 * thickness * (rows - 0.5 - torch.arange(rows, dtype=torch.float64))
    assert torch.allclose(pressure, above, rtol=1e-9)
    assert torch.allclose(height.diff(), (ratio[1:] + ratio[:-1]) / 2 * thickness, rtol=1e-6)
    assert float(height[-1]) == pytest.approx(depth - float(ratio[-1]) * thickness / 2, rel=1e-7)
    assert float(height[0]) == pytest.approx(float(ratio[0]) * thickness / 2, rel=1e-3)


@pytest.mark.parametrize(("depth", "length"), [(0.05, 0.4), (1.5, 0.2)])
def test_sloshing_knows_shallow_and_deep_water(depth, length):
    found = run_case("mpm.sloshing", {"depth": depth, "length": length, "cells": 4})
    shallow, deep = math.sqrt(9.81 * depth) / (2 * length), math.sqrt(9.81 * math.pi / length) / (2 * math.pi)
    assert found.reference == pytest.approx(min(shallow, deep), rel=0.03)
    assert found.value == pytest.approx(found.reference, rel=0.15)


def test_the_dragged_channel_starts_at_rest_obeys_its_equation_and_ends_as_a_ramp():
    drag, width, nu, h = 2.0, 0.3, 0.05, 1e-4
    y = np.linspace(0, width, 31)

    def speed(place, time):
        return couette_velocity(place, time, drag, width, nu)

    assert np.abs(speed(y[:-6], 1e-3)).max() < 1e-5 * drag
    assert np.allclose(speed(y, 1e3), drag * y / width)
    assert speed(width, 0.1) == pytest.approx(drag)
    y, time = y[3:-3], 0.2
    change = (speed(y, time + h) - speed(y, time - h)) / (2 * h)
    bend = (speed(y + h, time) - 2 * speed(y, time) + speed(y - h, time)) / h**2
    assert np.allclose(change, nu * bend, rtol=1e-3, atol=1e-4)


def test_a_liquid_of_another_viscosity_than_it_claims_is_dragged_otherwise(monkeypatch):
    monkeypatch.setattr(mpm_fluids, "Liquid", lambda density, bulk, viscosity: Liquid(density, bulk, 1.1 * viscosity))
    assert not run_case("mpm.couette", {"cells": 12}).passed


def test_a_jet_from_another_depth_than_it_claims_fails(monkeypatch):
    """Gravity that is a fifth too weak."""
    monkeypatch.setattr(mpm_flows, "MpmModel", lambda *args, **options: MpmModel(*args, **options, gravity=(0, -0.8 * 9.81)))
    assert not run_case("mpm.torricelli", {"head": 0.5, "orifice": 0.1, "cells": 6}).passed


def test_the_viscous_current_keeps_its_area_and_obeys_its_equation():
    area, nu, time, h = 0.3, 0.02, 4.0, 1e-4
    assert 1.41 < huppert_front(3 * nu / 9.81, 1.0, nu) < 1.412

    def height(x, t):
        front = huppert_front(t, area, nu)
        return area / (SHAPE * front) * np.maximum(1 - (x / front) ** 2, 0) ** (1 / 3)

    fine = (np.arange(100000) + 0.5) / 100000 * huppert_front(time, area, nu)
    assert height(fine, time).mean() * huppert_front(time, area, nu) == pytest.approx(area, rel=1e-5)
    x = np.linspace(0.05, 0.9, 12) * huppert_front(time, area, nu)
    change = (height(x, time + h) - height(x, time - h)) / (2 * h)
    bend = 9.81 / (12 * nu) * (height(x + h, time) ** 4 - 2 * height(x, time) ** 4 + height(x - h, time) ** 4) / h**2
    assert np.allclose(change, bend, rtol=1e-4)


def test_a_coarse_viscous_current_slows_down():
    found = run_case("mpm.huppert", {"viscosity": 20.0, "area": 0.02, "cells": 3})
    assert found.reference[-1] == pytest.approx(4.5 * math.sqrt(0.02))
    assert found.value == pytest.approx(found.reference, rel=0.15)


def test_layers_that_weigh_other_than_they_claim_fail(monkeypatch):
    monkeypatch.setattr(mpm_layers, "MpmModel", lambda *args, **options: MpmModel(*args, **options, gravity=(0, -0.93 * 9.81)))
    assert not run_case("mpm.layers", {"cells": 4}).passed


def test_the_pressure_of_layers_is_the_weight_above():
    found = run_case("mpm.layers", {"density_above": 500.0, "density_below": 2000.0, "depth": 0.2, "cells": 8})
    weight = 9.81 * 0.2 * (500 + 2000 * 31 / 32)
    assert found.reference[0] == pytest.approx(weight)
    assert found.reference[-1] == pytest.approx(9.81 * 0.2 * 500 / 32)
    assert found.value == pytest.approx(found.reference, abs=0.05 * weight)


def test_a_heavier_block_floats_deeper():
    light, heavy = (run_case("mpm.buoyancy", {"density_solid": density, "cells": 6}) for density in (300.0, 800.0))
    assert light.reference == pytest.approx(0.3)
    assert heavy.value - light.value == pytest.approx(0.5, abs=0.03)


BAD = [
    ("mpm.layers", ["density_above=1200"], "nothing would rest"),
    ("mpm.layers", ["depth=-1"], "depth"),
    ("mpm.buoyancy", ["density_solid=1000"], "density_solid / density_liquid is 1"),
    ("mpm.buoyancy", ["cells=3"], "above 5"),
    ("mpm.torricelli", ["head=0.1"], "four times the height"),
    ("mpm.torricelli", ["orifice=-1"], "orifice"),
    ("mpm.huppert", ["viscosity=1"], "inertia"),
    ("mpm.huppert", ["area=0"], "area"),
    ("mpm.sloshing", ["depth=0"], "depth"),
    ("mpm.sloshing", ["cells=2"], "above 3"),
    ("mpm.couette", ["viscosity=0"], "viscosity"),
]


@pytest.mark.parametrize(("name", "settings", "message"), BAD)
def test_settings_that_make_no_sense_are_refused(name, settings, message):
    with pytest.raises(OptionError, match=message):
        run_case(name, settings)
