"""WebAssembly made usable: a module for JavaScript with its types, and a page to try an image model on."""

from fanal.edge.web.declarations import declarations
from fanal.edge.web.module import module
from fanal.edge.web.page import page, shows_images

__all__ = ["declarations", "module", "page", "shows_images"]
