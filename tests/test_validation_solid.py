"""The cases of shells and implicit solids: quick ones for other parameters than their defaults, refinement, and cases that must fail."""

import dataclasses
import math

import numpy as np
import pytest

from pliant.errors import OptionError
from pliant.sim.mesh import Mesh
from pliant.validation import run_case, shell_beams, shell_friction, shell_large, shell_obstacles, shell_plastic, solid_bodies
from pliant.validation.elastica import own_weight, tip_load

QUICK = [
    ("shell.cantilever", {"gamma": 100.0}),
    ("shell.cantilever", {"gamma": 1.0, "columns": 20, "irregular": 1}),
    ("shell.tip_load", {"alpha": 10.0, "columns": 30, "irregular": 1}),
    ("shell.end_shear", {"load": 0.5, "columns": 30, "irregular": 1}),
    ("shell.roll_up", {"fraction": 1.0, "columns": 24}),
    ("shell.roll_up", {"fraction": 0.3, "columns": 24, "irregular": 1}),
    ("shell.slit_annulus", {"load": 0.1, "columns": 48, "rows": 8, "irregular": 1}),
    ("shell.scordelis_lo", {"cells": 30, "irregular": 1}),
    ("shell.pinched_cylinder", {"irregular": 1}),
    ("shell.pinched_hemisphere", {"cells": 24, "irregular": 1}),
    ("shell.plate_deflection", {"load": "centre", "cells": 40, "irregular": 1}),
    ("shell.plate_deflection", {"edges": "clamped", "cells": 48, "irregular": 1}),
    ("shell.lateral_buckling", {"width": 0.3, "poisson": 0.0, "columns": 32}),
    ("shell.stick_slip", {"mu": 0.3, "columns": 24}),
    ("shell.fold_memory", {"bend": 1.5, "hardening": 0.5, "columns": 10}),
    ("solid.incline", {"mu": 0.3, "angle": 16.6}),
    ("solid.incline", {"mu": 0.5, "angle": 40.0}),
    ("solid.gradient", {"contact": 1, "steps": 22, "only": "friction"}),
    ("solid.gradient", {"contact": 0, "steps": 20, "only": "thickness"}),
    ("solid.no_penetration", {"count": 2, "seed": 20, "steps": 10}),
]


@pytest.mark.parametrize(
    ("name", "params"), QUICK, ids=lambda entry: entry if isinstance(entry, str) else "-".join(map(str, entry.values()))
)
def test_a_quick_case_passes_for_other_parameters_than_its_defaults(name, params):
    result = run_case(name, params)
    assert result.passed, [str(check) for check in result.checks]


@pytest.mark.parametrize(
    ("name", "coarse", "fine"),
    [
        ("shell.scordelis_lo", 12, 24),
        ("shell.pinched_cylinder", 24, 48),
        ("shell.pinched_hemisphere", 12, 24),
        ("shell.plate_deflection", 10, 20),
    ],
)
@pytest.mark.parametrize("irregular", [0, 1])
def test_shells_converge_on_regular_and_irregular_meshes(name, coarse, fine, irregular):
    one, other = (run_case(name, {"cells": cells, "irregular": irregular}).error for cells in (coarse, fine))
    assert other < 0.65 * one, (one, other)


@pytest.mark.slow
def test_a_thousand_drops_and_folds_do_not_penetrate():
    result = run_case("solid.no_penetration", {"count": 1000})
    assert result.passed, [str(check) for check in result.checks]


def test_the_elastica_agrees_with_its_tables():
    """Bisshopp and Drucker 1945; Romero et al. 2021."""
    for alpha, drop, approach in ((0.2, 0.066364, 0.002647), (2, 0.493457, 0.160642), (10, 0.810609, 0.554996)):
        assert tip_load(alpha) == pytest.approx((drop, approach), abs=2e-6)
    for gamma, height, width in ((0.1, 0.012498, 0.999911), (10, 0.700200, 0.656354), (1000, 0.981141, 0.045986)):
        assert own_weight(gamma) == pytest.approx((height, width), abs=2e-6)
    gamma = 1e-3  # a beam that hardly bends: the drop of its tip is gamma / 8
    assert own_weight(gamma)[0] == pytest.approx(gamma / 8, rel=1e-5)


@pytest.mark.parametrize(
    ("module", "name", "params"),
    [
        (shell_beams, "shell.end_shear", {"load": 0.2, "columns": 20}),
        (shell_obstacles, "shell.plate_deflection", {}),
        (shell_obstacles, "shell.pinched_hemisphere", {}),
        (shell_large, "shell.lateral_buckling", {"columns": 24}),
    ],
)
def test_a_shell_of_another_stiffness_than_it_claims_fails(module, name, params, monkeypatch):
    def stiffer(*parts, **named):
        modulus = named.pop("youngs_modulus")
        return plain(*parts, youngs_modulus=1.06 * modulus, **named)

    plain = module.ShellMaterial
    monkeypatch.setattr(module, "ShellMaterial", stiffer)
    assert not run_case(name, params).passed


def test_a_cantilever_of_another_stiffness_fails(monkeypatch):
    monkeypatch.setattr(shell_beams, "STRIP", dataclasses.replace(shell_beams.STRIP, youngs_modulus=1.05e6))
    assert not run_case("shell.cantilever").passed


def test_a_crease_of_another_yield_curvature_fails(monkeypatch):
    plain = shell_plastic.ShellMaterial
    monkeypatch.setattr(shell_plastic, "ShellMaterial", lambda *parts, **named: plain(*parts, **{**named, "yield_curvature": 22.0}))
    assert not run_case("shell.fold_memory", {"columns": 8}).passed


def test_a_block_with_another_friction_than_it_claims_fails(monkeypatch):
    plain = solid_bodies.Contact
    monkeypatch.setattr(solid_bodies, "Contact", lambda reach, **named: plain(reach, **{**named, "friction": 1.05 * named["friction"]}))
    assert not run_case("solid.incline", {"angle": 20.0}).passed


def test_a_strip_that_slips_sooner_than_it_claims_fails(monkeypatch):
    plain = shell_friction.Contact
    monkeypatch.setattr(shell_friction, "Contact", lambda reach, **named: plain(reach, **{**named, "friction": 0.93 * named["friction"]}))
    assert not run_case("shell.stick_slip", {"columns": 20}).passed


def test_parameters_outside_their_range_are_refused():
    for name, params in (
        ("shell.cantilever", {"gamma": -1.0}),
        ("shell.cantilever", {"gamma": 5000.0}),
        ("shell.roll_up", {"fraction": 1.5}),
        ("shell.stick_slip", {"mu": 0.6}),
        ("shell.lateral_buckling", {"poisson": 0.5}),
        ("shell.plate_deflection", {"edges": "glued"}),
        ("solid.incline", {"angle": 90.0}),
        ("solid.energy", {"integrator": "leapfrog"}),
        ("solid.gradient", {"only": "colour"}),
    ):
        with pytest.raises(OptionError):
            run_case(name, params)


def test_the_octant_of_a_sphere_is_one():
    mesh = shell_obstacles._octant(24, 2.0, True)
    assert isinstance(mesh, Mesh)
    assert np.allclose(np.linalg.norm(mesh.vertices, axis=1), 2.0)
    corner = mesh.vertices[mesh.faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    assert ((normal * corner.mean(1)).sum(1) > 0).all()
    area = 0.5 * np.linalg.norm(normal, axis=1).sum()
    assert area == pytest.approx(0.5 * math.pi * 4.0, rel=0.003)
