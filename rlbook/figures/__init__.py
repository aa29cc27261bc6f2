"""Figures: one look for the whole book, drawing of grids, and export to standalone pages."""
