"""Errors that every part of pliant raises; each message is one or two lines that say what to do.

They lie at the root of the package because the layers `optim` and `sim` both raise them and neither may import what stands above it.
"""

from __future__ import annotations


class PliantError(Exception):
    """Base of all errors that are the user's to mend."""


class ModelError(PliantError, ValueError):
    """A scene description that cannot be simulated: bad parameter, geometry or time step."""


class ShapeError(PliantError, ValueError):
    """A tensor of wrong shape, dtype or device."""


class MeshError(PliantError, ValueError):
    """A mesh file that cannot be read, or a mesh that does not enclose what it should."""


class OptionError(PliantError, ValueError):
    """An option of a task, a method or a command that is not to be had, or a number outside its range."""


class FileFormatError(PliantError, ValueError):
    """A file that is damaged, foreign, or of a newer schema."""


class DeviceError(PliantError, RuntimeError):
    """A device or compiler backend that this machine does not offer."""


class UnknownNameError(PliantError, KeyError):
    """A task, method, material or case that does not exist; the message lists those that do."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class MissingExtraError(PliantError, ImportError):
    """An optional package that is not installed; the message names the extra that brings it."""


class StepError(PliantError, RuntimeError):
    """A derivative that does not exist, such as the adjoint of a step that did not converge."""
