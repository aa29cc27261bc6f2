"""Which labs `rlbook warm` runs, so that their JAX programs are on the disk."""

from __future__ import annotations

import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

from rlbook import chapters, provenance
from rlbook.cli.warming_programs import labs_to_run, run_lab
from rlbook.deep.compilation_cache import keep_programs
from rlbook.registry import find_lab


def test_labs_with_programs_are_run_until_their_sources_change(tmp_path, monkeypatch):
    """Prevents a first slider that compiles, a warm-up that runs all labs, and one that runs them again each time."""
    keep_programs()  # where they are kept for all tests of this process: only the notes lie elsewhere here
    monkeypatch.setenv("RLBOOK_CACHE", str(tmp_path))
    found = {lab.name for lab in labs_to_run((chapters,))}
    assert "neural-fitted-q" in found
    assert "error-split" not in found
    lab = type(find_lab("neural-fitted-q"))
    monkeypatch.setattr(lab, "canonical", lab.canonical[:1])
    run_lab(lab.__module__, lab.__name__)
    assert {lab.name for lab in labs_to_run((chapters,))} == found - {"neural-fitted-q"}
    monkeypatch.setattr(provenance, "source_digest", lambda module: "of other sources")
    assert {lab.name for lab in labs_to_run((chapters,))} == found
