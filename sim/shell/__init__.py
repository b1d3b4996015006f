from .materials import ShellMaterial
