"""A synthetic motor-imagery cohort with planted lateralised rhythms: left and right hand, and the answer is known.

A recording is pink noise that is correlated over the scalp, and two sources of a mu rhythm with a smaller beta
part, one under C3 and one under C4, each seen by the electrodes around it. Trials of imagery follow one another
with rests between. In a trial, the power of the source on the *other* side than the hand is lower by
`lateralisation` decibels, and that of both varies from trial to trial::

    dB(source, trial) = - lateralisation * [source is contralateral] + variation * normal + common * normal

What the electrodes see is then multiplied by the patient's gain and by a mild random mixing of the channels,
so that patients differ by a linear map: what Euclidean alignment takes out. Neither electrodes, sources nor their
spread prefer a side, so a left-hand trial whose electrodes change sides is distributed as a right-hand trial:
of one patient without mixing, and over patients with it.

A rule on the difference of the mu power at C3 and C4 is right in a share ``Phi(lateralisation / s)`` of the trials,
where s is the standard deviation of the difference: `predicted_accuracy`. Background, the rhythm's spread and
mixing take away from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import erf, log, pi, sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from biocl.datasets.dataset import Dataset, Entry
from biocl.files import digest
from biocl.randomness import stream
from biocl.signals.recording import Channel, Events, Recording
from biocl.spec import Spec

Array = NDArray[np.float64]

CLASSES = ("left_hand", "right_hand")
# fmt: off
NAMES = (
    "Fz", "FC3", "FC1", "FCz", "FC2", "FC4",
    "C5", "C3", "C1", "Cz", "C2", "C4", "C6",
    "CP3", "CP1", "CPz", "CP2", "CP4",
    "P1", "Pz", "P2", "POz",
)
# fmt: on
ROWS = {"F": 2, "FC": 1, "C": 0, "CP": -1, "P": -2, "PO": -3}
SFREQ, TRIAL_S = 250.0, 4.0
REST_S = (1.5, 2.5)  # shortest and longest rest before a trial
RAMP_S = 0.5  # power goes to a trial's level within this time before it, and leaves it within this after it
MU_HZ, MU_SD_HZ, BETA_SD_HZ = (9.0, 12.0), 1.0, 2.0
MU_UV, BETA_SHARE, BETA_ERD = 8.0, 0.35, 0.5
SPREAD = (0.7, 1.1)  # of a source over the scalp, in steps between neighbouring electrodes
BACKGROUND_SPREAD, BLINK_S, BLINK_UV = 2.0, 0.12, 60.0
VERSION = "1"


class MotorImagerySpec(Spec):
    """How large the cohort is and what is planted in it; patient `p` depends on (seed, p) and not on `n_patients`.

    Attributes
    ----------
    n_patients : int
        Patients, one recording each.
    n_trials : int
        Trials of each patient, even: half of them of either class, in random order.
    lateralisation : float
        By how many decibels the mu power of the contralateral source is lower in a trial; 0 plants nothing.
    variation : float
        Standard deviation in decibels over trials of each source's power.
    common : float
        The same of what both sources share.
    signature : float
        How much patients differ in gain and in strength of the rhythm: the standard deviation of their logarithms.
    mixing : float
        Size of the patient's random mixing of channels; 0 leaves them as they are.
    background : float
        Standard deviation of the pink noise in uV.
    blinks : float
        Blinks a minute, largest at the front.
    seed : int
    """

    n_patients: int = Field(default=9, ge=2)
    n_trials: int = Field(default=72, ge=2, multiple_of=2)
    lateralisation: float = Field(default=3.5, ge=0, allow_inf_nan=False)
    variation: float = Field(default=1.5, ge=0, allow_inf_nan=False)
    common: float = Field(default=1.5, ge=0, allow_inf_nan=False)
    signature: float = Field(default=0.3, ge=0, allow_inf_nan=False)
    mixing: float = Field(default=0.3, ge=0, allow_inf_nan=False)
    background: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    blinks: float = Field(default=6.0, ge=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class MotorImagery:
    """The two functions of the data set, bound to its sizes; picklable."""

    spec: MotorImagerySpec

    def entries(self, raw: Path | None = None) -> list[Entry]:
        """One recording for each patient; there is no raw folder."""
        return [
            Entry(name, name, source=f"synthetic-mi (seed {self.spec.seed})")
            for name in (f"P{number + 1:03d}" for number in range(self.spec.n_patients))
        ]

    def read(self, entry: Entry) -> Recording:
        """Make one patient's recording in uV; trials are events ``trial`` in the order of time."""
        spec, patient = self.spec, int(entry.name[1:]) - 1
        labels = trial_labels(spec, patient)
        start = trial_starts(spec, patient)
        length = round(TRIAL_S * SFREQ)
        n_times = int(start[-1]) + length + round(REST_S[1] * SFREQ)
        return Recording.from_array(
            entry.name,
            entry.patient,
            SFREQ,
            scalp(spec, patient, labels, start, n_times),
            tuple(Channel(name, "eeg", "uV") for name in NAMES),
            events=Events.of("trial", start / SFREQ, TRIAL_S, np.array(CLASSES)[labels]),
            labels=entry.labels,
            source=entry.source,
        )


def trial_labels(spec: MotorImagerySpec, patient: int) -> NDArray[np.int64]:
    """The class (0 left, 1 right) of every trial of a patient, as many of either."""
    labels = np.repeat([0, 1], spec.n_trials // 2)
    shuffled: NDArray[np.int64] = draws(spec, "labels", patient).permutation(labels)
    return shuffled


def trial_starts(spec: MotorImagerySpec, patient: int) -> NDArray[np.int64]:
    """First sample of every trial, after a rest whose length is drawn."""
    rest = np.round(SFREQ * draws(spec, "rests", patient).uniform(*REST_S, spec.n_trials)).astype(np.int64)
    return np.cumsum(rest) + round(TRIAL_S * SFREQ) * np.arange(spec.n_trials)


def scalp(
    spec: MotorImagerySpec, patient: int, labels: NDArray[np.int64], start: NDArray[np.int64], n_times: int
) -> Array:
    """What the electrodes of one patient see, shape (n_times, 22), in uV."""
    traits = draws(spec, "traits", patient)
    peak_hz, spread = traits.uniform(*MU_HZ), traits.uniform(*SPREAD)
    strength, gain = np.array([MU_UV, 1.0]) * np.exp(spec.signature * traits.standard_normal(2))
    mixing = np.eye(len(NAMES)) + spec.mixing * traits.standard_normal((len(NAMES),) * 2) / sqrt(len(NAMES))
    level = trial_levels(spec, labels, draws(spec, "trials", patient))

    rng = draws(spec, "rhythms", patient)
    mu = coloured(rng, 2, n_times, lambda hz: np.exp(-(((hz - peak_hz) / MU_SD_HZ) ** 2) / 2))
    beta = coloured(rng, 2, n_times, lambda hz: np.exp(-(((hz - 2 * peak_hz) / BETA_SD_HZ) ** 2) / 2))
    course = level_course(level, start, n_times)
    sources = strength * (mu * amplitude(course) + BETA_SHARE * beta * amplitude(BETA_ERD * course))
    signal = topographies(spread) @ sources

    noise = coloured(draws(spec, "background", patient), len(NAMES), n_times, pink)
    signal += spec.background * background_root() @ noise
    signal += blinks(spec, draws(spec, "blinks", patient), n_times)
    return gain * (mixing @ signal).T


def trial_levels(spec: MotorImagerySpec, labels: NDArray[np.int64], rng: np.random.Generator) -> Array:
    """Power of the left and the right source in each trial in dB against rest, shape (n_trials, 2)."""
    level = spec.common * rng.standard_normal((len(labels), 1)) + spec.variation * rng.standard_normal((len(labels), 2))
    contralateral = 1 - labels  # the left hand is moved by the right side
    level[np.arange(len(labels)), contralateral] -= spec.lateralisation
    return level


def level_course(level: Array, start: NDArray[np.int64], n_times: int) -> Array:
    """Decibels at every sample, shape (2, n_times): a trial's within it, 0 at rest, straight lines between."""
    ramp, length = round(RAMP_S * SFREQ), round(TRIAL_S * SFREQ)
    corners = (start[:, None] + np.array([-ramp, 0, length - 1, length - 1 + ramp])).ravel()
    heights = level.T[:, :, None] * np.array([0.0, 1.0, 1.0, 0.0])
    return np.stack([np.interp(np.arange(n_times), corners, one.ravel()) for one in heights])


def amplitude(level_db: Array) -> Array:
    """The factor on a signal whose power changes by so many decibels."""
    factor: Array = 10 ** (level_db / 20)
    return factor


def coloured(rng: np.random.Generator, n_rows: int, n_times: int, density: Callable[[Array], Array]) -> Array:
    """Independent Gaussian noises of standard deviation 1 whose power spectrum is ``density(hz)``."""
    n_padded = 1 << (n_times - 1).bit_length()  # a length that is quickly transformed
    hz = np.asarray(np.fft.rfftfreq(n_padded, 1 / SFREQ), dtype=np.float64)
    power = density(hz)
    power[[0, -1]] = 0.0
    parts = rng.standard_normal((n_rows, 2, len(hz)))
    spectrum = np.sqrt(power / power.sum()) * (parts[:, 0] + 1j * parts[:, 1])
    noise: Array = np.fft.irfft(spectrum, n_padded, axis=1)[:, :n_times] * (n_padded / 2)
    return noise


def pink(hz: Array) -> Array:
    """One over the frequency, level below 1 Hz."""
    return 1 / np.maximum(hz, 1.0)


def positions() -> Array:
    """Places of the electrodes on the 10-10 grid in steps, right and front positive, shape (22, 2)."""
    places = []
    for name in NAMES:
        row, column = name.rstrip("z0123456789"), name.lstrip("FCPO")
        number = 0 if column == "z" else int(column)
        places.append((number / 2 if number % 2 == 0 else -(number + 1) / 2, ROWS[row]))
    return np.array(places, dtype=np.float64)


def topographies(spread: float) -> Array:
    """How strongly each electrode sees the sources under C3 and C4, shape (22, 2)."""
    place = positions()
    under = place[[NAMES.index("C3"), NAMES.index("C4")]]
    squared = np.square(place[:, None] - under).sum(axis=2)
    bell: Array = np.exp(-squared / (2 * spread**2))
    return bell


def background_root() -> Array:
    """The symmetric square root of the background's correlation over the scalp, shape (22, 22)."""
    place = positions()
    squared = np.square(place[:, None] - place).sum(axis=2)
    correlation = 0.1 * np.eye(len(place)) + 0.9 * np.exp(-squared / (2 * BACKGROUND_SPREAD**2))
    values, vectors = np.linalg.eigh(correlation)
    root: Array = (vectors * np.sqrt(values)) @ vectors.T
    return root


def blinks(spec: MotorImagerySpec, rng: np.random.Generator, n_times: int) -> Array:
    """Bell-shaped waves at random times, halved with every row from Fz to the back, shape (22, n_times)."""
    minutes = n_times / SFREQ / 60
    impulses = np.zeros(n_times)
    where = rng.integers(0, n_times, rng.poisson(spec.blinks * minutes))
    np.add.at(impulses, where, BLINK_UV * rng.uniform(0.6, 1.4, len(where)))
    lags = np.arange(-round(4 * BLINK_S * SFREQ), round(4 * BLINK_S * SFREQ) + 1) / SFREQ
    wave = np.convolve(impulses, np.exp(-((lags / BLINK_S) ** 2) / 2), mode="same")
    return 0.5 ** (ROWS["F"] - positions()[:, 1:]) * wave


def draws(spec: MotorImagerySpec, concern: str, patient: int) -> np.random.Generator:
    """The random stream of one concern of one patient."""
    return stream(spec.seed, "synthetic-mi", concern, patient)


def predicted_accuracy(spec: MotorImagerySpec) -> float:
    """Share of trials in which the sign of the mu power at C3 less that at C4 tells the hand.

    The difference in dB is ``± lateralisation`` and varies by ``sqrt(2) * variation`` over trials, and by as much
    as the power of noise of this bandwidth does when it is seen for a trial (2 / degrees of freedom in the natural
    logarithm of each side's). No background, spread to the other side or mixing is reckoned with.
    """
    freedom = 2 * TRIAL_S * 2 * sqrt(pi) * MU_SD_HZ
    of_a_side = spec.variation**2 + (10 / log(10)) ** 2 * 2 / freedom
    return (1 + erf(spec.lateralisation / sqrt(2 * of_a_side) / sqrt(2))) / 2


def motor_imagery_dataset(spec: MotorImagerySpec) -> Dataset:
    """The data set of a cohort."""
    cohort = MotorImagery(spec)
    return Dataset(
        name="synthetic-mi",
        modality="eeg",
        # Cohorts of other sizes or effects are other data sets, so they never share a store.
        version=f"{VERSION}-{digest(spec.model_dump())[:12]}",
        entries=cohort.entries,
        read=cohort.read,
        classes=CLASSES,
        defaults={
            "resample_hz": None,
            "windows": {"kind": "event", "events": "trial", "before_s": 0.0, "after_s": TRIAL_S},
            "trials": {"kind": "event", "events": "trial"},
            "classes": list(CLASSES),
        },
        licence="CC0 1.0",
        citation="Generated by biocl",
        notes="Made on the spot from a seed: how strongly, where and on which side the rhythm weakens is known.",
    )


SYNTHETIC_MI = motor_imagery_dataset(MotorImagerySpec())
