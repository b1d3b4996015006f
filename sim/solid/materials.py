import dataclasses
@dataclasses.dataclass
class StableNeoHookean:
    density: object; youngs_modulus: object; poisson_ratio: object
    law_name='stable_neo_hookean'
