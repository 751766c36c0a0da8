"""Where electrodes sit, by name."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from biocl.errors import UsageError


def electrode_positions(names: Sequence[str]) -> np.ndarray:
    """Unit vectors from the middle of the head to electrodes of the 10-05 system.

    Parameters
    ----------
    names : sequence of str
        Such as ``Fp1``, ``EEG FP1-REF`` or ``Fp1.``; case does not matter.

    Returns
    -------
    ndarray of float32, shape (n_chans, 3)
        To the right, to the front, up.

    Raises
    ------
    UsageError
        A name is not that of an electrode, or there are no names.
    """
    import mne

    # MNE is giving the same template a new name.
    new, old = "colin27_1005", "standard_1005"
    template = new if new in mne.channels.get_builtin_montages() else old
    known = mne.channels.make_standard_montage(template).get_positions()["ch_pos"]
    by_name = {name.lower(): position for name, position in known.items()}
    bare = [bare_name(name) for name in names]
    unknown = [name for name, plain in zip(names, bare, strict=True) if plain not in by_name]
    if unknown or not bare:
        raise UsageError(
            f"positions: electrodes needs channels named after electrodes, and {', '.join(unknown[:5]) or 'none'} "
            f"{'is' if len(unknown) < 2 else 'are'} given",
            "encoder.positions",
            "Leave out other channels (data.channels), or use positions: learned",
        )
    positions = np.array([by_name[plain] for plain in bare])
    middle = np.mean(list(by_name.values()), axis=0) * (1, 1, 0)
    away = positions - middle
    return (away / np.linalg.norm(away, axis=1, keepdims=True)).astype(np.float32)


def bare_name(name: str) -> str:
    """An electrode's name without what recorders add to it."""
    return re.sub(r"^eeg[ _]*|[ -]*(ref|le|a1|a2|avg)$|\.+$", "", name.strip().lower())
