"""Physics cases with a known answer, each with its source and tolerance; `pliant validate` runs them."""

from . import mpm_elastic, mpm_flows, mpm_fluids, mpm_gradients, mpm_layers, mpm_solids
from .case import CASES, Case, CaseResult, Check, Measured, case, case_names, run_case

__all__ = [
    "CASES", "Case", "CaseResult", "Check", "Measured", "case", "case_names", "mpm_elastic", "mpm_flows", "mpm_fluids", "mpm_gradients",
    "mpm_layers", "mpm_solids", "run_case",
]  # fmt: skip
