"""A page for each agent: quick facts, equations, pseudocode, settings, and results beside those of others.

    from rlbook.deep import pages
    pages.page("dqn")  # in a notebook, the page; pages.page("dqn").figure() draws its learning curves

Numbers come from code and from stored results (`python -m benchmarks quality` measures them), never from prose.
"""

from rlbook.deep.pages.agents import names
from rlbook.deep.pages.page import Page, page

__all__ = ["Page", "names", "page"]
