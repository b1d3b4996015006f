"""Tasks on thin sheets, after those of ThinShellLab (Wang et al. 2024), with physical parameters."""
