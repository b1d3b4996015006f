"""Thin shells: their energies and materials."""

from .materials import ShellMaterial, card, cloth, foil, leather, paper, plastic_film

__all__ = ["ShellMaterial", "card", "cloth", "foil", "leather", "paper", "plastic_film"]
