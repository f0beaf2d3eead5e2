"""One web page to look inside a network: every map, every number and every gradient of one image on its way through.

:func:`write_page` makes it; ``npresnet explore`` is its command.
"""

from .page import page, write_page

__all__ = ["page", "write_page"]
