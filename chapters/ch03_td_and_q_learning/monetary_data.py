"""US macroeconomic data by quarter, and the linear model with normal noise that is fitted to it.

    x_{t+1} = c + A x_t + b i_t + e_{t+1},      e ~ N(0, Sigma),      x = (inflation, unemployment)

with i_t the short-term rate. All are in percent; inflation is that of one quarter, as an annual rate.

The data is that of `statsmodels.datasets.macrodata`, 1959 to 2009, in the public domain: from the Federal Reserve Bank
of St. Louis, unemployment from the Bureau of Labor Statistics. It is read from the installed distribution, whose code
is never imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rlbook.errors import MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

VARIABLES = ("inflation", "unemployment")
REGRESSORS = ("constant", "inflation", "unemployment", "rate")


@dataclass(frozen=True, eq=False)
class Macrodata:
    """Quarterly data, all (quarters,) and read-only.

    year: float64, 1959.25 for the second quarter of 1959. inflation: of consumer prices, over the quarter, in percent
    a year. unemployment: percent. rate: of three-month treasury bills, percent a year.
    """

    year: NDArray[np.float64]
    inflation: NDArray[np.float64]
    unemployment: NDArray[np.float64]
    rate: NDArray[np.float64]

    @property
    def states(self) -> NDArray[np.float64]:
        """Inflation and unemployment side by side, (quarters, 2)."""
        return np.column_stack([self.inflation, self.unemployment])


@dataclass(frozen=True, eq=False)
class LinearModel:
    """A fitted model; see the module's text for the symbols.

    coefficients: (4, 2), a row for each of `REGRESSORS` and a column for each of `VARIABLES`. standard_errors: alike.
    covariance: Sigma, (2, 2), with the degrees of freedom that the fit leaves. residuals: (quarters - 1, 2).
    """

    coefficients: NDArray[np.float64]
    standard_errors: NDArray[np.float64]
    covariance: NDArray[np.float64]
    residuals: NDArray[np.float64]

    @property
    def constant(self) -> NDArray[np.float64]:
        """c, (2,)."""
        return self.coefficients[0]

    @property
    def persistence(self) -> NDArray[np.float64]:
        """A, (2, 2): row j is how variable j follows from both."""
        return self.coefficients[1:3].T

    @property
    def effect(self) -> NDArray[np.float64]:
        """b, (2,): what one more percent of interest does to the next quarter."""
        return self.coefficients[3]

    def expected(self, x: NDArray[np.float64], rate: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean of the next quarter, (..., 2), for states x (..., 2) and rates (...)."""
        return self.constant + x @ self.persistence.T + np.asarray(rate)[..., None] * self.effect

    def autocorrelation(self, lags: int) -> NDArray[np.float64]:
        """How residuals go with those of 1 to `lags` quarters before, (lags, 2).

        Beyond about 2 / sqrt(quarters) in size, they are not the white noise that the model takes them for.
        """
        e = self.residuals
        return np.array([(e[lag:] * e[:-lag]).sum(axis=0) for lag in range(1, lags + 1)]) / (e**2).sum(axis=0)


@cache
def macrodata() -> Macrodata:
    """The data from the second quarter of 1959 on, as the file holds no inflation for the first.

    Raises MissingExtraError where statsmodels is not installed.
    """
    table = np.genfromtxt(_data_file(), delimiter=",", names=True, deletechars='"')[1:]
    columns = (table["year"] + (table["quarter"] - 1) / 4, table["infl"], table["unemp"], table["tbilrate"])
    return Macrodata(*(_frozen(column) for column in columns))


def fit(data: Macrodata) -> LinearModel:
    """Least squares, each variable on the constant, both variables and the rate of the quarter before.

    Coefficients and covariance are rounded to 12 decimals: their last bits differ between processors, and a learner
    that breaks a tie by them goes another way.
    """
    x = data.states
    regressors = np.column_stack([np.ones(len(x) - 1), x[:-1], data.rate[:-1]])
    coefficients = np.linalg.lstsq(regressors, x[1:], rcond=None)[0].round(12)
    residuals = x[1:] - regressors @ coefficients
    covariance = (residuals.T @ residuals / (len(regressors) - len(REGRESSORS))).round(12)
    leverage = np.diag(np.linalg.inv(regressors.T @ regressors))
    errors = np.sqrt(np.outer(leverage, np.diag(covariance)))
    return LinearModel(*map(_frozen, (coefficients, errors, covariance, residuals)))


@cache
def fitted() -> LinearModel:
    """The model of the whole sample."""
    return fit(macrodata())


def _data_file() -> Path:
    try:
        files = metadata.files("statsmodels") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "macrodata.csv" and (path := Path(str(file.locate()))).is_file():
            return path
    raise MissingExtraError("the US macroeconomic data of statsmodels", "data", "statsmodels")


def _frozen(array: NDArray[np.float64]) -> NDArray[np.float64]:
    array = np.ascontiguousarray(array)
    array.setflags(write=False)
    return array
