import dataclasses
@dataclasses.dataclass(frozen=True)
class ShellMaterial:
    youngs_modulus: object
    poisson_ratio: object
    thickness: object
    density: object
    yield_curvature: object = float("inf")
    hardening: object = 0.0
    membrane: str = "st_venant_kirchhoff"
    bending: str = "mid_edge"
