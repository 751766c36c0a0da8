"""Floors of the electroencephalogram: power in the usual bands, and covariances between channels.

`smni_cmi`, alcoholic against control, 14 patients left out one by one (420 trials of 64 x 256), balanced classes,
accuracy / AUROC over all windows; `benchmarks/eeg_floors.py` prints what is found here:

========================= ==== ============= =============
floor                     in   earlier       here
========================= ==== ============= =============
amplitude                 raw  .657 / .694   .655 / .667
log-variance              raw  .688 / .661   .698 / .647
band-power                raw  .762 / .768   .795 / .851
tangent-space             raw  .757 / .777   .776 / .802
minirocket                raw  .741 / .826   .795 / .885
band-power                z    .600 / .602   .669 / .742
tangent-space             z                  .669 / .721
minirocket                z                  .676 / .750
========================= ==== ============= =============

"raw" is uV, "z" each window with mean 0 and variance 1 in every channel. The earlier features were not written down
in full: which taper, which frequencies belong to a band, which penalties were tried, is not known of them. Where the
two differ, nothing here was chosen by these scores, and the higher number is the harder floor. 14 patients leave
intervals .25 to .3 wide, far more than the differences.
"""

from __future__ import annotations

import numpy as np

from biocl.evaluation.floors_common import TINY, Features, Floats, Windows, by_block
from biocl.evaluation.riemann import Matrices, riemannian_mean, tangent_vectors
from biocl.training.euclidean import one_thread, symmetric

BANDS_HZ = {"delta": (1, 4), "theta": (4, 8), "alpha": (8, 13), "beta": (13, 30), "gamma": (30, 45)}


def band_power(windows: Windows) -> Floats:
    """Log power of every channel in the bands of `BANDS_HZ` that lie below the Nyquist rate.

    Hann window, mean removed; ``(n, n_chans * n_bands)``.
    """
    n_times = windows.x.shape[-1]
    frequency = np.fft.rfftfreq(n_times, 1 / windows.sfreq)
    taper = np.hanning(n_times)
    inside = [(frequency >= low) & (frequency < high) for low, high in BANDS_HZ.values()]

    def power(x: Floats) -> Floats:
        spectrum = np.abs(np.fft.rfft((x - x.mean(axis=-1, keepdims=True)) * taper, axis=-1)) ** 2 / n_times
        bands = [np.log(spectrum[..., band].mean(axis=-1) + TINY) for band in inside if band.any()]
        return np.concatenate(bands, axis=-1)

    return by_block(windows.x, power)


def fit_tangent_space(windows: Windows, seed: int) -> Features:
    """Covariances of windows seen from their Riemannian mean over the training windows; `seed` is not used.

    Returns
    -------
    callable
        From windows to ``(n, n_chans * (n_chans + 1) / 2)``.
    """
    mean = riemannian_mean(shrunk_covariances(windows.x))
    return lambda seen: by_block(seen.x, lambda x: tangent_vectors(shrunk_covariances(x), mean))


def shrunk_covariances(x: Floats) -> Matrices:
    """Covariances of windows ``(n, n_chans, n_times)``, shrunk towards their mean variance: ``(n, n_chans, n_chans)``.

    The share is that of Chen et al. 2010 (oracle approximating shrinkage, doi:10.1109/TSP.2010.2053029) in the form of
    scikit-learn's ``oas``, for all windows at once. It keeps matrices positive definite where channels depend on each
    other, as after an average reference, or are flat; `TINY` does where a window holds no signal at all.
    """
    x = np.asarray(x, dtype=np.float64)
    _, n_chans, n_times = x.shape
    x = x - x.mean(axis=-1, keepdims=True)
    with one_thread():
        found = symmetric(x @ np.swapaxes(x, 1, 2)) / n_times
    mean = np.trace(found, axis1=1, axis2=2) / n_chans
    square = (found**2).mean(axis=(1, 2))
    excess = (n_times + 1) * (square - mean**2 / n_chans)
    share = np.minimum(1, (square + mean**2) / np.where(excess > 0, excess, np.inf))
    share = np.where(excess > 0, share, 1)[:, None, None]
    return (1 - share) * found + (share * mean[:, None, None] + TINY) * np.eye(n_chans)
