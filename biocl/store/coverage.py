"""What each of several windows shows of a signal that the windows before it do not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def fresh_steps(recording: NDArray[Any], start: NDArray[Any], length: NDArray[Any]) -> tuple[Ints, Ints]:
    """Windows in order of time, and from which of its steps on each shows what none before it does.

    ::

        window  [--------]   [--------]      [--------]
                     [..------]
                        [......--]                           . was shown by a window before

    Parameters
    ----------
    recording, start, length : ndarray of int, shape (n,)
        Of each window, in any order.

    Returns
    -------
    picked : ndarray of int, shape (m,)
        Numbers of the windows that show anything new, by recording and time.
    fresh : ndarray of int, shape (m,)
        First of its steps that is new.
    """
    # One axis for all recordings, on which no window of one reaches into the next.
    far = int(start.max(initial=0)) + int(length.max(initial=0))
    begin = start.astype(np.int64) + recording.astype(np.int64) * far
    order = np.argsort(begin, kind="stable")
    begin = begin[order]
    stop = begin + length[order]
    reach = np.concatenate([[0], np.maximum.accumulate(stop)[:-1]]) if len(stop) else stop
    new = stop > reach
    return order[new], np.maximum(reach - begin, 0)[new]
