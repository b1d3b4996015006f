"""The frame of the cases, and the quick ones themselves; `pliant validate` runs all of them in full, and so does -m slow."""

import json
import math

import numpy as np
import pytest

from pliant.errors import OptionError, UnknownNameError
from pliant.sim.materials import Liquid, Sand, Viscoplastic
from pliant.sim.mpm import MpmSolver
from pliant.validation import (
    CASES,
    Check,
    Measured,
    case,
    case_names,
    mpm_fluids,
    mpm_gradients,
    mpm_granular,
    mpm_slump,
    mpm_viscoplastic,
    run_case,
)
from pliant.validation.mpm_fluids import poiseuille_velocity
from pliant.validation.mpm_solids import fundamental
from pliant.validation.mpm_viscoplastic import channel_velocity

QUICK = {
    "mpm.hydrostatic": {"depth": 1.5, "cells": 8},
    "mpm.dam_break": {"n2": 1.0, "a": 0.1, "cells": 10},
    "mpm.poiseuille": {"cells": 20, "viscosity": 2.0},
    "mpm.bingham_channel": {"yield_stress": 2.0, "flow_index": 0.7, "cells": 10},
    "mpm.slump": {"yield_stress": 20.0, "cells": 10},
    "mpm.gradient": {"material": "neo_hookean"},
    "mpm.adjoint_dot": {"material": "liquid"},
    "mpm.bar_frequency": {"youngs_modulus": 2e5, "cells": 16},
    "mpm.incline": {"angle": 40.0, "friction": 0.5, "aspect": 2.0},
    "mpm.angular_momentum": {"steps": 300, "dtype": "float64"},
    "mpm.column_collapse": {"aspect": 1.2, "friction_angle": 29.5, "cells": 20},
}


@pytest.mark.parametrize(("name", "params"), QUICK.items())
def test_a_quick_case_passes_for_other_parameters_than_its_defaults(name, params):
    result = run_case(name, params)
    assert result.passed, [str(check) for check in result.checks]
    assert result.params == {**CASES[name].defaults, **params}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mpm.gradient", "mpm.adjoint_dot"])
def test_derivatives_are_exact_in_three_dimensions(name):
    result = run_case(name, {"dimension": 3})
    assert result.passed, [str(check) for check in result.checks]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_case_passes_with_its_defaults(name):
    result = run_case(name)
    assert result.passed, [str(check) for check in result.checks]


def test_a_liquid_of_another_viscosity_than_it_claims_fails(monkeypatch):
    monkeypatch.setattr(mpm_fluids, "Liquid", lambda density, bulk, viscosity: Liquid(density, bulk, 1.05 * viscosity))
    result = run_case("mpm.poiseuille", {"cells": 12})
    assert not result.passed
    assert result.error > result.tolerance


def test_sand_with_less_friction_than_it_claims_fails(monkeypatch):
    monkeypatch.setattr(mpm_granular, "Sand", lambda *elastic_and_angle: Sand(*elastic_and_angle[:3], 0.7 * elastic_and_angle[3]))
    result = run_case("mpm.column_collapse", {"cells": 20})
    assert not result.passed
    assert result.value > 1.15 * result.reference


@pytest.mark.parametrize(("name", "flaw"), [("mpm.gradient", 1e-3), ("mpm.adjoint_dot", 1e-9)])
def test_a_flaw_in_one_slope_fails(name, flaw, monkeypatch):
    exact = mpm_gradients.cotangents

    def flawed(*args):
        slopes = exact(*args)
        slopes[-1] *= 1 + flaw
        return slopes

    monkeypatch.setattr(mpm_gradients, "cotangents", flawed)
    assert not run_case(name, {"material": "liquid"}).passed


def test_derivatives_are_checked_for_every_material_and_quantity_that_the_solver_claims():
    assert tuple(mpm_gradients.MATERIALS) == MpmSolver.capabilities.materials
    scenes = [mpm_gradients.Scene(name, True, 2, 1) for name in mpm_gradients.MATERIALS]
    elsewhere = {"inflow_velocity"}  # tests/test_mpm_flow.py: these scenes have no inflow
    assert {name for scene in scenes for name in scene.inputs()} | elsewhere == set(MpmSolver.capabilities.differentiable)


def test_the_channel_starts_at_rest_obeys_its_equation_and_ends_as_a_parabola():
    force, width, nu, h = 2.0, 0.3, 0.05, 1e-4
    y = np.linspace(0, width, 31)

    def speed(place, time):
        return poiseuille_velocity(place, time, force, width, nu)

    assert np.abs(speed(y, 0.0)).max() < 1e-4 * force * width**2 / (8 * nu)
    assert np.allclose(speed(y, 1e3), force * y * (width - y) / (2 * nu), atol=1e-15)
    y, time = y[3:-3], 0.2
    change = (speed(y, time + h) - speed(y, time - h)) / (2 * h)
    bend = (speed(y + h, time) - 2 * speed(y, time) + speed(y - h, time)) / h**2
    assert np.allclose(change, force + nu * bend, rtol=1e-3, atol=1e-4)


def test_the_run_out_of_a_column_has_two_regimes_and_a_slope_stands_at_the_angle_that_is_asked_for():
    assert mpm_granular.run_out(0.5) == pytest.approx(0.6)
    assert mpm_granular.run_out(8.0) == pytest.approx(7.6)
    assert math.sin(math.radians(mpm_granular.internal_friction_angle(30.0))) == pytest.approx(math.tan(math.radians(30.0)))


def test_a_frequency_is_found_off_the_guess():
    time = np.linspace(0, 1, 80)
    assert fundamental(time, 0.3 + np.sin(2 * np.pi * 3.217 * time + 0.4), 3.0) == pytest.approx(3.217, rel=1e-5)


def test_the_incline_knows_its_two_regimes():
    """The reference is computed for the parameters given: it slides with g (sin - mu cos), or holds."""
    slides, holds = run_case("mpm.incline", ["angle=30", "friction=0.3"]), run_case("mpm.incline", ["angle=20", "friction=0.5"])
    angle = math.radians(30)
    assert slides.reference == pytest.approx(9.81 * (math.sin(angle) - 0.3 * math.cos(angle)), rel=1e-3)
    assert slides.value == pytest.approx(slides.reference, rel=0.03)
    assert holds.reference == 0.0
    assert holds.passed


def test_the_channel_of_a_yield_stress_fluid_obeys_its_flow_curve_and_stops():
    y, h = np.linspace(-0.049, 0.049, 41), 1e-5
    for flow_index in (0.5, 1.0, 1.6):
        rate = abs(channel_velocity(y + h, 4.0, flow_index) - channel_velocity(y - h, 4.0, flow_index)) / (2 * h)
        assert np.allclose(4.0 * (rate > 1e-9) + 10.0 * rate**flow_index, np.where(abs(y) > 0.02, 200.0 * abs(y), 0.0), atol=1e-4)
    assert np.all(channel_velocity(np.array([-0.05, 0.05]), 4.0, 0.5) == 0)
    assert np.all(channel_velocity(y, 10.0, 1.0) == 0)


def test_where_the_drive_does_not_reach_yield_nothing_flows():
    result = run_case("mpm.bingham_channel", {"yield_stress": 12.0})
    assert result.passed, [str(check) for check in result.checks]
    assert result.reference == 0.0


def test_a_fluid_of_another_yield_stress_than_it_claims_fails(monkeypatch):
    def weaker(density, bulk, shear, yield_stress, *others):
        return Viscoplastic(density, bulk, shear, 0.9 * yield_stress, *others)

    monkeypatch.setattr(mpm_viscoplastic, "Viscoplastic", weaker)
    assert not run_case("mpm.bingham_channel", {"cells": 10}).passed


@pytest.mark.slow
def test_a_deposit_of_another_yield_stress_than_it_claims_fails(monkeypatch):
    def stronger(density, bulk, shear, yield_stress, *others):
        return Viscoplastic(density, bulk, shear, 1.2 * yield_stress, *others)

    monkeypatch.setattr(mpm_slump, "Viscoplastic", stronger)
    assert not run_case("mpm.slump").passed


def test_a_result_is_one_line_of_json_with_the_promised_keys():
    entry = json.loads(run_case("mpm.incline").to_json())
    assert list(entry) == ["case", "params", "value", "reference", "error", "tolerance", "passed", "seconds", "source"]
    assert entry["passed"] is True
    assert entry["params"] == dict(CASES["mpm.incline"].defaults)


BAD = [
    ("mpm.incline", ["tilt=3"], OptionError, "it has angle, friction"),
    ("mpm.incline", ["angle"], OptionError, "write name=value"),
    ("mpm.incline", ["angle=steep"], OptionError, "finite number"),
    ("mpm.incline", ["angle=nan"], OptionError, "finite number"),
    ("mpm.poiseuille", ["cells=10.5"], OptionError, "whole number"),
    ("mpm.poiseuille", ["viscosity=-1"], OptionError, "viscosity"),
    ("mpm.dam_break", ["n2=3"], OptionError, "n2=1 and n2=2"),
    ("mpm.hydrostatic", ["cells=2"], OptionError, "above 3"),
    ("mpm.bingham_channel", ["yield_stress=-1"], OptionError, "yield_stress"),
    ("mpm.bingham_channel", ["flow_index=0"], OptionError, "flow_index"),
    ("mpm.slump", ["yield_stress=0"], OptionError, "yield_stress"),
    ("mpm.incline", ["angle=60", "friction=1"], OptionError, "topple"),
    ("mpm.angular_momentum", ["dtype=float16"], OptionError, "float32"),
    ("mpm.column_collapse", ["friction_angle=45"], OptionError, "between 0 and 45"),
    ("mpm.column_collapse", ["aspect=0"], OptionError, "aspect"),
    ("mpm.gradient", ["dimension=4"], OptionError, "2, 3"),
    ("mpm.gradient", ["material=jelly"], OptionError, "jelly"),
    ("mpm.nothing", [], UnknownNameError, "mpm.hydrostatic"),
]


@pytest.mark.parametrize(("name", "settings", "error", "message"), BAD)
def test_settings_that_make_no_sense_are_refused(name, settings, error, message):
    with pytest.raises(error, match=message):
        run_case(name, settings)


def test_a_family_names_its_cases_and_an_unknown_one_lists_all():
    assert set(case_names("mpm")) == {name for name in CASES if name.startswith("mpm.")}
    assert case_names("mpm.incline") == ["mpm.incline"]
    with pytest.raises(UnknownNameError, match="there are mpm"):
        case_names("smoke")


@pytest.mark.parametrize(("error", "further", "passed"), [(0.1, 0.1, True), (0.3, 0.1, False), (0.1, 0.3, False), (math.nan, 0.1, False)])
def test_a_case_passes_only_if_every_error_is_within_its_limit(error, further, passed):
    @case("own.case", source="this test", tolerance=0.2)
    def own(level: float = 1.0) -> Measured:
        """A case of somebody's own."""
        return Measured(level, 1.0, error, [Check("other", further, 0.2)])

    try:
        result = run_case("own.case", ["level=2"])
    finally:
        del CASES["own.case"]
    assert result.passed is passed
    assert result.value == 2.0
    entry = json.loads(result.to_json())
    assert entry["passed"] is passed
    assert entry["error"] == (None if math.isnan(error) else 0.1 if passed else 0.3)
