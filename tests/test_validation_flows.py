"""Liquids that slosh, run out, spread, and are dragged along."""

import math

import numpy as np
import pytest
import torch

from pliant.errors import OptionError
from pliant.sim.materials import Liquid
from pliant.validation import mpm_fluids, run_case
from pliant.validation.mpm_flows import settled
from pliant.validation.mpm_fluids import couette_velocity

QUICK = [
    ("mpm.sloshing", {"depth": 0.5, "length": 0.3, "cells": 8}),
    ("mpm.couette", {"viscosity": 3.0, "cells": 12}),
]


@pytest.mark.parametrize(("name", "params"), QUICK)
def test_a_quick_case_passes_for_other_parameters_than_its_defaults(name, params):
    result = run_case(name, params)
    assert result.passed, [str(check) for check in result.checks]


def test_a_settled_column_bears_its_own_weight():
    depth, bulk, density, rows = 0.7, 5e4, 1200.0, 4000
    height, ratio, thickness = settled(depth, rows, bulk, density)
    pressure = bulk / 7 * (ratio**-7 - 1)
    above = density * 9.81 * thickness * (rows - 0.5 - torch.arange(rows, dtype=torch.float64))
    assert torch.allclose(pressure, above, rtol=1e-9)
    assert torch.allclose(height.diff(), (ratio[1:] + ratio[:-1]) / 2 * thickness, rtol=1e-6)
    assert float(height[-1]) == pytest.approx(depth - thickness / 2, rel=1e-6)
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


BAD = [
    ("mpm.sloshing", ["depth=0"], "depth"),
    ("mpm.sloshing", ["cells=2"], "above 3"),
    ("mpm.couette", ["viscosity=0"], "viscosity"),
]


@pytest.mark.parametrize(("name", "settings", "message"), BAD)
def test_settings_that_make_no_sense_are_refused(name, settings, message):
    with pytest.raises(OptionError, match=message):
        run_case(name, settings)
