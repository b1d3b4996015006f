"""Physics cases with a known answer, each with its source and tolerance; `pliant validate` runs them."""

from . import (  # noqa: F401  each registers its cases
    mpm_elastic,
    mpm_flows,
    mpm_fluids,
    mpm_gradients,
    mpm_granular,
    mpm_layers,
    mpm_slump,
    mpm_solids,
    mpm_viscoplastic,
    pde_gradients,
    pde_orders,
    pde_solutions,
    shell_beams,
    shell_friction,
    shell_large,
    shell_obstacles,
    shell_plastic,
    solid_bodies,
    solid_contact,
    solid_gradients,
)
from .case import CASES, Case, CaseResult, Check, Measured, case, case_names, run_case

__all__ = ["CASES", "Case", "CaseResult", "Check", "Measured", "case", "case_names", "run_case"]
