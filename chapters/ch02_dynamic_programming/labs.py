"""The labs of chapter 02."""

from rlbook.chapters.ch02_dynamic_programming.contraction import ValueIterationContraction
from rlbook.chapters.ch02_dynamic_programming.icu_sepsis import ICUSepsisOptimal

LABS = (ValueIterationContraction, ICUSepsisOptimal)
