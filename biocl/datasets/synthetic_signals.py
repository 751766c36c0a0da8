"""The signals of the synthetic cohorts: cues become heart beats, brain rhythms or movement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biocl.signals.recording import Channel

Array = NDArray[np.float64]

# One heart beat: (time from the R peak in s, width in s, millivolts in lead 1, millivolts in lead 2).
WAVES = (
    (-0.18, 0.025, 0.12, 0.07),  # P
    (-0.03, 0.010, -0.10, -0.04),  # Q
    (0.00, 0.012, 1.00, 0.45),  # R
    (0.03, 0.012, -0.25, -0.60),  # S
    (0.26, 0.050, 0.30, 0.16),  # T
)
BUMPS_S = np.arange(16) * 0.048 - 0.264  # where a beat's shape may deviate; six samples apart
BUMP_WIDTH_S, BUMP_SD_MV = 0.014, 0.05
ECG_NOISE_MV, WANDER_MV, WANDER_HZ = 0.02, 0.01, 0.25
MEAN_RR_S = 0.95


@dataclass(frozen=True)
class Kind:
    """What one kind of signal is made of.

    `bands` holds (low Hz, high Hz, standard deviation in the channel's unit) of every frequency band that has
    cues, all of equal width and apart from one another, so that a plain Fourier transform of a window tells
    them apart; `background` the same of the bands that have none.
    A cue is a number below ``n_chans * n_parts`` in channel-major order; `class_cues` are the eight that
    differ between classes, `spared_cues` those in which nothing is planted.
    """

    sfreq: float
    channels: tuple[Channel, ...]
    class_cues: tuple[int, ...]
    bands: tuple[tuple[float, float, float], ...] = ()
    background: tuple[tuple[float, float, float], ...] = ()
    sample_s: float = MEAN_RR_S
    spared_cues: tuple[int, ...] = ()

    @property
    def n_cues(self) -> int:
        """Number of cues: waves or bands of each channel."""
        return len(self.channels) * (len(self.bands) or len(BUMPS_S))

    @property
    def planted_cues(self) -> tuple[int, ...]:
        """The cues in which something is planted: those of the class effect first."""
        taken = {*self.class_cues, *self.spared_cues}
        return (*self.class_cues, *(cue for cue in range(self.n_cues) if cue not in taken))


ECG = Kind(
    sfreq=125.0,
    channels=(Channel("lead-1", "ecg", "mV"), Channel("lead-2", "ecg", "mV")),
    class_cues=(8, 9, 10, 11, 24, 25, 26, 27),  # from the ST segment to the end of the T wave, both leads
)
EEG = Kind(
    sfreq=128.0,
    channels=tuple(Channel(name, "eeg", "uV") for name in ("Fz", "C3", "Cz", "C4", "P3", "Pz", "P4", "Oz")),
    class_cues=(5, 6, 9, 10, 13, 14, 21, 22),  # alpha and beta over C3, Cz, C4 and Pz
    bands=((3, 7, 8.0), (9, 13, 8.0), (16, 20, 5.0), (24, 28, 4.0)),
    background=((0.5, 2, 5.0), (0.5, 60, 1.0)),
    sample_s=2.0,
)
IMU = Kind(
    sfreq=50.0,
    channels=tuple(
        Channel(f"{device}-{sensor}-{axis}", sensor, unit, device)  # type: ignore[arg-type]
        for device in ("wrist", "ankle")
        for sensor, unit in (("acc", "m/s2"), ("gyr", "deg/s"))
        for axis in "xyz"
    ),
    class_cues=(0, 1, 3, 4, 18, 19, 21, 22),  # gait and its harmonics in acceleration, both devices
    bands=((1, 4, 1.2), (6, 9, 0.9), (11, 14, 0.6)),
    background=((0.2, 24, 0.1),),
    sample_s=2.0,
    spared_cues=(11, 14, 29, 32),  # the highest band of four rotations, so that 32 remain
)
KINDS = {"ecg": ECG, "eeg": EEG, "imu": IMU}
GYR_PER_ACC = 40.0  # deg/s for every m/s2: angular rates are larger numbers
GRAVITY = (0.0, 0.0, 9.81)


def beats(cues: Array, rng: np.random.Generator, mean_rr_s: float) -> tuple[Array, Array]:
    """An ECG of successive beats.

    Parameters
    ----------
    cues : ndarray, shape (n_beats, 32)
        Deviation of each wave of each beat (two leads × 16), in standard deviations, without the beat-to-beat
        variation, which is added here.
    rng : Generator
    mean_rr_s : float
        The patient's mean RR interval.

    Returns
    -------
    signal : ndarray, shape (n_times, 2), mV
    onset_s : ndarray, shape (n_beats,)
        The R peaks, on whole samples.
    """
    n_beats, sfreq = len(cues), ECG.sfreq
    breath = 0.03 * np.sin(2 * np.pi * 0.25 * mean_rr_s * np.arange(n_beats) + rng.uniform(0, 2 * np.pi))
    rr = mean_rr_s * (1 + breath + 0.02 * rng.standard_normal(n_beats))
    peak = np.round(np.cumsum(rr) * sfreq).astype(int)
    n_times = int(peak[-1] + round(mean_rr_s * sfreq))
    near = np.arange(-round(0.4 * sfreq), round(0.6 * sfreq))
    time = near / sfreq
    shape = np.stack([sum(wave[2 + lead] * bump(time, wave[0], wave[1]) for wave in WAVES) for lead in (0, 1)], axis=1)
    deviations = np.stack([bump(time, centre, BUMP_WIDTH_S) for centre in BUMPS_S])
    sizes = BUMP_SD_MV * (cues + rng.standard_normal(cues.shape)).reshape(n_beats, 2, len(BUMPS_S))
    signal = ECG_NOISE_MV * rng.standard_normal((n_times, 2))
    phase = rng.uniform(0, 2 * np.pi, 2)
    signal += WANDER_MV * np.sin(2 * np.pi * WANDER_HZ * np.arange(n_times)[:, None] / sfreq + phase)
    for index, place in enumerate(peak):
        inside = (place + near >= 0) & (place + near < n_times)
        signal[place + near[inside]] += (shape + (sizes[index] @ deviations).T)[inside]
    return signal, peak / sfreq


def bump(time: Array, centre: float, width: float) -> Array:
    """A Gaussian of height 1."""
    bell: Array = np.exp(-0.5 * ((time - centre) / width) ** 2)
    return bell


def rhythms(kind: Kind, cues: Array, n_samples: int, rng: np.random.Generator) -> Array:
    """Background activity of one trial: a sum of independent band-limited noises.

    Parameters
    ----------
    kind : Kind
        `EEG` or `IMU`.
    cues : ndarray, shape (n_chans * n_bands,)
        Log amplitudes, in standard deviations of the log amplitude that one window of ``kind.sample_s``
        measures: noise of bandwidth B seen for T seconds has 2BT degrees of freedom, so that the log of its
        root mean square varies by about ``1 / sqrt(4 B T)``.

    Returns
    -------
    ndarray, shape (n_times, n_chans), in the channels' units.
    """
    n_times = round(n_samples * kind.sample_s * kind.sfreq)
    frequency = np.fft.rfftfreq(n_times, 1 / kind.sfreq)
    sizes = np.zeros((len(kind.bands) + len(kind.background), len(kind.channels)))
    for index, (low, high, size) in enumerate(kind.bands):
        cue = cues.reshape(len(kind.channels), -1)[:, index]
        sizes[index] = size * np.exp(cue / np.sqrt(4 * (high - low) * kind.sample_s))
    sizes[len(kind.bands) :] = np.array([size for _, _, size in kind.background])[:, None]
    spectrum = np.zeros((len(kind.channels), len(frequency)), dtype=np.complex128)
    for (low, high, _), amplitude in zip((*kind.bands, *kind.background), sizes, strict=True):
        inside = np.flatnonzero((frequency >= low) & (frequency < high))
        draws = rng.standard_normal((len(kind.channels), 2, len(inside)))
        scale = n_times / (2 * np.sqrt(len(inside)))  # gives the band the standard deviation `amplitude`
        spectrum[:, inside] += amplitude[:, None] * scale * (draws[:, 0] + 1j * draws[:, 1])
    signal: Array = np.fft.irfft(spectrum, n_times, axis=1).T
    if kind is IMU:
        sensors = [channel.kind for channel in kind.channels]
        signal = signal * np.where([sensor == "gyr" for sensor in sensors], GYR_PER_ACC, 1.0)
        signal = signal + np.array([*GRAVITY, 0.0, 0.0, 0.0] * 2)
    return signal
