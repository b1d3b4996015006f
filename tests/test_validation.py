"""The frame of the cases, and the quick ones themselves; `pliant validate` runs all of them in full, and so does -m slow."""

import json
import math

import pytest

from pliant.errors import OptionError, UnknownNameError
from pliant.validation import CASES, Measured, case, case_names, run_case
from pliant.validation.case import Check

QUICK = {
    "mpm.poiseuille": {"cells": 20, "viscosity": 2.0},
    "mpm.gradient": {"material": "neo_hookean"},
    "mpm.adjoint_dot": {"material": "liquid"},
    "mpm.bar_frequency": {"youngs_modulus": 2e5, "cells": 16},
    "mpm.incline": {"angle": 40.0, "friction": 0.5},
    "mpm.angular_momentum": {"steps": 300, "dtype": "float64"},
}


@pytest.mark.parametrize(("name", "params"), QUICK.items())
def test_a_quick_case_passes_for_other_parameters_than_its_defaults(name, params):
    result = run_case(name, params)
    assert result.passed, [str(check) for check in result.checks]
    assert result.params == {**CASES[name].defaults, **params}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_case_passes_with_its_defaults(name):
    result = run_case(name)
    assert result.passed, [str(check) for check in result.checks]


def test_the_incline_knows_its_two_regimes():
    """The reference is computed for the parameters given: it slides with g (sin - mu cos), or holds."""
    slides, holds = run_case("mpm.incline", ["angle=30", "friction=0.3"]), run_case("mpm.incline", ["angle=20", "friction=0.5"])
    angle = math.radians(30)
    assert slides.reference == pytest.approx(9.81 * (math.sin(angle) - 0.3 * math.cos(angle)), rel=1e-3)
    assert slides.value == pytest.approx(slides.reference, rel=0.03)
    assert holds.reference == 0.0
    assert holds.passed


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
    assert json.loads(result.to_json())["passed"] is passed
