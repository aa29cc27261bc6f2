"""Incomplete factors of a policy's equation: elimination that keeps no entry where the matrix has none.

ILU(0) of I - discount P (Meijerink & van der Vorst 1977: for such M-matrices it exists, and its pivots are at least as
large as those of the full elimination), relaxed: nine tenths of what would have filled an empty place are added to the
diagonal instead, so that rows keep most of their sums and slow, smooth errors are seen (Gustafsson 1978). On a chain
whose states stand in a line nothing would fill, and the factors are exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.kernel import float64, int32, int64, kernel, writes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.tabular.policy_rows import PolicyRows

_RELAXATION = 0.9

_MATRIX = (writes(int64), writes(int32), writes(float64), writes(int64))


@kernel(*_MATRIX, float64)
def _eliminate(pointer: Any, column: Any, value: Any, diagonal: Any, relaxation: float) -> None:
    """Overwrite a matrix with its factors: multipliers left of the diagonal, pivots on it and their rows to its right.

    Columns increase within a row; diagonal[i] is where row i holds its own.
    """
    states = len(diagonal)
    place = np.full(states, -1, np.int64)
    for i in range(states):
        for k in range(pointer[i], pointer[i + 1]):
            place[column[k]] = k
        own = value[diagonal[i]]
        dropped = 0.0
        for k in range(pointer[i], diagonal[i]):
            j = column[k]
            value[k] /= value[diagonal[j]]
            for q in range(diagonal[j] + 1, pointer[j + 1]):
                to = place[column[q]]
                if to >= pointer[i]:
                    value[to] -= value[k] * value[q]
                else:
                    dropped += value[k] * value[q]
        pivot = value[diagonal[i]] - relaxation * dropped
        value[diagonal[i]] = pivot if pivot > 0 else own


@kernel(*_MATRIX, writes(float64), writes(float64))
def _substitute(pointer: Any, column: Any, value: Any, diagonal: Any, b: Any, x: Any) -> None:
    """Solve with the factors: forwards, then backwards."""
    states = len(b)
    for i in range(states):
        total = b[i]
        for k in range(pointer[i], diagonal[i]):
            total -= value[k] * x[column[k]]
        x[i] = total
    for i in range(states - 1, -1, -1):
        total = x[i]
        for k in range(diagonal[i] + 1, pointer[i + 1]):
            total -= value[k] * x[column[k]]
        x[i] = total / value[diagonal[i]]


class IncompleteFactors:
    """Relaxed ILU(0) of I - discount P. Memory: one copy of the policy's rows."""

    def __init__(self, rows: PolicyRows) -> None:
        import scipy.sparse as sp

        states = rows.n_states
        # The matrix shares memory with what it is given, and the difference may sort it, so it gets a copy.
        chain = sp.csr_array((rows.mass, rows.following.copy(), rows.pointer), shape=(states, states))
        matrix = (sp.eye_array(states, format="csr") - rows.discount * chain).tocsr()
        matrix.sum_duplicates()
        pointer, column = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
        diagonal = np.flatnonzero(np.repeat(np.arange(states), np.diff(pointer)) == column)
        self._factors = (pointer, column, matrix.data, diagonal)
        _eliminate(*self._factors, _RELAXATION)

    def solve(self, b: NDArray[np.float64]) -> NDArray[np.float64]:
        """x with (I - discount P) x = b, roughly, (S,)."""
        found = np.empty_like(b)
        _substitute(*self._factors, b, found)
        return found
