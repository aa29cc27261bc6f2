"""The lab of chapter 00."""

from rlbook.chapters.ch00_welcome.averages import AveragesConverge

LABS = (AveragesConverge,)
