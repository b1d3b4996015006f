"""Pictures of particles and meshes without a display: `render(drawings, camera)`. Importing it starts nothing."""

from .picture import Picture, render
from .scene import Camera, Drawing, Surface

__all__ = ["Camera", "Drawing", "Picture", "Surface", "render"]
