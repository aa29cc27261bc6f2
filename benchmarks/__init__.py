"""Races against peers and against our own goals, each in one run on one machine; nothing here is asserted in tests."""
