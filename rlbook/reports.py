"""Tables for notebooks: whether a chapter's claims are true, and which papers its labs answer to."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass

from rlbook.registry import find_lab, labs
from rlbook.verdict import SIGNS

_AS_HOPED = {"claim": "yes", "control": "yes", "refuted": "no, which is known"}


@dataclass(frozen=True)
class Table:
    """Rows of text under a heading; HTML in a notebook, aligned columns elsewhere."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def _repr_html_(self) -> str:
        if not self.rows:
            return f"<p>{html.escape(self.caption)}</p>"
        head = "".join(f"<th scope='col' style='text-align:left'>{html.escape(cell)}</th>" for cell in self.header)
        body = "".join(
            "<tr>" + "".join(f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self.rows
        )
        return f"<table><caption>{html.escape(self.caption)}</caption><tr>{head}</tr>{body}</table>"

    def __repr__(self) -> str:
        if not self.rows:
            return self.caption
        widths = [max(len(cell) for cell in column) for column in zip(self.header, *self.rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (self.header, *self.rows)
        ]
        return "\n".join([self.caption, *lines])


def is_it_true(*names: str, compute: bool = True) -> Table:
    """Judge the claims of labs with their full number of seeds: every canonical, every control and every refuted set.

    A claim must hold under the canonical sets and must not hold under the control sets. Refuted sets are those that
    something was claimed of beforehand, and that did not bear it out. What is in the reader's run store is not computed
    again. compute: whether to compute what is missing there; without it, such rows are left open.
    """
    from rlbook.running import judge, stored_verdict

    rows = []
    for name in names:
        lab = find_lab(name)
        for role, chosen in (("claim", lab.canonical), ("control", lab.controls), ("refuted", lab.refuted)):
            for parameters in chosen:
                verdict = judge(lab, parameters) if compute else stored_verdict(lab, parameters)
                changes = _changes(lab.Parameters().model_dump(), parameters.model_dump())
                if verdict is None:
                    rows.append((name, role, changes, "not judged yet", "", "", f"0 of {lab.verdict_seeds}", ""))
                    continue
                expected = (verdict.status == "holds") == (role == "claim")
                rows.append(
                    (
                        name,
                        role,
                        changes,
                        f"{SIGNS[verdict.status]} {verdict.status}",
                        f"{verdict.estimate:.6g}",
                        verdict.rule,
                        str(verdict.n),
                        _AS_HOPED[role] if expected else "NO",
                    )
                )
    header = ("lab", "role", "parameters", "verdict", "measured", "claimed", "seeds", "as hoped?")
    left = sum(row[3] == "not judged yet" for row in rows)
    caption = "Is it true? " + ("Computed now, or loaded from your run store." if compute else "From your run store.")
    if left:
        caption += f" {left} of {len(rows)} rows are open: compute=True judges them."
    return Table(caption, header, tuple(rows))


def papers_of_chapter(chapter: int) -> Table:
    """The papers that the labs of a chapter answer to, and their state in the atlas."""
    from rlbook.atlas import atlas

    mine = {lab.name for lab in labs().values() if lab.chapter == chapter}
    rows = [row for row in atlas() if mine & set(row.labs)]
    caption = (
        f"This chapter's labs answer to {len(rows)} of the papers in the atlas; `rlbook atlas` lists all."
        if rows
        else "The claims of this chapter come from textbooks and data, none from a paper of the atlas; later chapters' "
        "do. `rlbook atlas` lists all papers and their state."
    )
    return Table(
        caption,
        ("paper", "state", "labs"),
        tuple((row.title, row.state, ", ".join(row.labs)) for row in rows),
    )


def _changes(defaults: dict[str, object], chosen: dict[str, object]) -> str:
    return _listed(f"{name}={value}" for name, value in chosen.items() if value != defaults.get(name)) or "as they come"


def _listed(parts: Iterable[str]) -> str:
    return ", ".join(parts)
