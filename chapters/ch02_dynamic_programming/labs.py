"""The labs of chapter 02."""

from rlbook.chapters.ch02_dynamic_programming.anderson import AndersonAcceleration
from rlbook.chapters.ch02_dynamic_programming.car_rental import JacksCarRental
from rlbook.chapters.ch02_dynamic_programming.contraction import ValueIterationContraction
from rlbook.chapters.ch02_dynamic_programming.gambler import GamblersProblem
from rlbook.chapters.ch02_dynamic_programming.icu_sepsis import ICUSepsisOptimal
from rlbook.chapters.ch02_dynamic_programming.inventory import InventoryThresholds
from rlbook.chapters.ch02_dynamic_programming.linear_rate import LinearRate
from rlbook.chapters.ch02_dynamic_programming.occupancy import LinearProgramOccupancy
from rlbook.chapters.ch02_dynamic_programming.policy_improvement import PolicyImprovement
from rlbook.chapters.ch02_dynamic_programming.race import SolverRace
from rlbook.chapters.ch02_dynamic_programming.span_rate import SpanRate
from rlbook.chapters.ch02_dynamic_programming.sweep_orders import SweepOrders

LABS = (
    ValueIterationContraction,
    LinearRate,
    SpanRate,
    SweepOrders,
    PolicyImprovement,
    LinearProgramOccupancy,
    AndersonAcceleration,
    SolverRace,
    JacksCarRental,
    GamblersProblem,
    InventoryThresholds,
    ICUSepsisOptimal,
)
