"""What all panels of the book share: their looks, names for screen readers, and how they are taken away."""

from __future__ import annotations

from pathlib import Path

import anywidget
import ipywidgets


class Dress(anywidget.AnyWidget):
    """Shows nothing itself: brings the style sheet, and names for screen readers, to the panel that it stands in.

    The panel has the class ``rlbook-explorer``, and parts of the classes ``rlbook-fields`` and ``rlbook-views``, in
    which the sliders are.
    """

    _esm = Path(__file__).with_name("explorer.js")
    _css = Path(__file__).with_name("explorer.css")


def close_below(box: ipywidgets.Box) -> None:
    """Close every widget in a box, those in boxes of its own as well."""
    for child in box.children:
        if isinstance(child, ipywidgets.Box):
            close_below(child)
        child.close()
