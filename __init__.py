"""pliant: differentiable physics of things that bend, squash and flow."""

__version__ = "0.1.0"
