"""Physics cases with a known answer, each with its source and tolerance; `pliant validate` runs them."""

from . import mpm_fluids, mpm_gradients, mpm_solids, mpm_viscoplastic
from .case import CASES, Case, CaseResult, Check, Measured, case, case_names, run_case

__all__ = [
    "CASES", "Case", "CaseResult", "Check", "Measured", "case", "case_names", "mpm_fluids", "mpm_gradients", "mpm_solids", "mpm_viscoplastic",
    "run_case",
]  # fmt: skip
