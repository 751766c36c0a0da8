"""Quality indices: known values, slow loops as reference, and what is not applicable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biocl.signals.beat_agreement import energy_of_windows, peaks_of_window
from biocl.signals.plateaus import in_runs, is_cut
from biocl.signals.quality import INDICES, USUAL, Context, beyond, quality_indices

SFREQ = 250.0
T = np.arange(2500) / SFREQ


def one(x: np.ndarray, name: str, kind: str = "ecg", sfreq: float = SFREQ, **keys: object) -> float:
    """An index of one channel of one window."""
    return float(quality_indices(x[None, :, None], sfreq, [kind], names=[name], **keys)[name][0, 0])  # type: ignore[arg-type]


def noise(n: int = 2500, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n)


def ecg(rate_hz: float = 1.2, jitter: float = 0.0, seed: int = 0) -> np.ndarray:
    """Ten seconds of beats with P, R, S and T waves; `jitter` in mV makes each one of another shape."""
    chance = np.random.default_rng(seed)
    x = 0.01 * chance.standard_normal(len(T))
    for at in np.arange(0.4, 9.8, 1 / rate_hz):
        for where, width, height in ((-0.17, 0.03, 0.1), (0.0, 0.012, 1.0), (0.03, 0.012, -0.3), (0.25, 0.05, 0.3)):
            height = height + jitter * chance.standard_normal()
            x += height * np.exp(-(((T - at - where) / width) ** 2) / 2)
    return x


# ---------------------------------------------------------------------------------------------- slow references


def slow_runs(still: np.ndarray, least: int) -> np.ndarray:
    """Samples in runs of at least `least`, one step after the other."""
    found = np.zeros(len(still) + 1, bool)
    start = 0
    for t in range(len(still) + 1):
        if t == len(still) or not still[t]:
            if t - start + 1 >= least:
                found[start : t + 1] = True
            start = t + 1
    return found


@settings(max_examples=100, deadline=None)
@given(still=st.lists(st.booleans(), max_size=30), least=st.integers(2, 12))
def test_runs_equal_a_slow_loop(still: list[bool], least: int) -> None:
    mask = np.array(still, bool)
    got = in_runs(np.stack([mask, ~mask], axis=1)[None], least)[0]
    np.testing.assert_array_equal(got[:, 0], slow_runs(mask, least))
    np.testing.assert_array_equal(got[:, 1], slow_runs(~mask, least))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), missing=st.sampled_from([0.0, 0.2]))
def test_simple_indices_equal_slow_loops(seed: int, missing: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((3, 80, 2)).astype(np.float32)
    x[0, 10:30, 0] = x[0, 10, 0]
    x = np.clip(x, -1.5, 1.2)
    x[rng.random(x.shape) < missing] = np.nan
    found = quality_indices(x, 40.0, ["ecg", "acc"], names=["flat", "saturation", "nan", "kurtosis"])
    for b in range(3):
        for c in range(2):
            column = x[b, :, c].astype(np.float64)
            has = np.isfinite(column)
            still = np.array([bool(column[t] == column[t + 1]) for t in range(79)])
            values = column[has]
            span = values.max() - values.min()
            near = (column <= values.min() + 0.01 * span) | (column >= values.max() - 0.01 * span)
            assert found["nan"][b, c] == pytest.approx(1 - has.mean())
            assert found["flat"][b, c] == pytest.approx((slow_runs(still, 5) & has).sum() / has.sum())
            clipped = slow_runs(still, 5) & near & has
            quantum = min(abs(d) for d in np.diff(column) if d != 0 and np.isfinite(d))
            for t in range(80):  # the whole run around each clipped sample
                start, stop = t, t
                while start > 0 and clipped[start - 1]:
                    start -= 1
                while stop < 80 and clipped[stop]:
                    stop += 1
                if clipped[t] and not is_cut(column, start, stop, quantum):
                    clipped[start:stop] = False
            assert found["saturation"][b, c] == pytest.approx(clipped.sum() / has.sum())
            centred = values - values.mean()
            assert found["kurtosis"][b, c] == pytest.approx((centred**4).mean() / (centred**2).mean() ** 2)


# ------------------------------------------------------------------------------------------------- known values


def test_a_planted_flat_stretch_is_its_share() -> None:
    x = noise()
    assert one(x, "flat") == 0
    x[500:1000] = x[500]
    assert one(x, "flat") == pytest.approx(0.2)
    x[1500:1510] = x[1500]  # 40 ms: what a coarse converter gives between beats
    assert one(x, "flat") == pytest.approx(0.2)
    assert one(np.zeros(2500), "flat") == 1.0


def test_a_flat_line_may_tremble_within_the_tolerance() -> None:
    x = np.where(T < 5, noise(), 1e-4 * noise(seed=1))
    context = Context(np.array([1e-3]), np.array([-5.0]), np.array([5.0]))
    assert one(x, "flat", context=context) == pytest.approx(0.5, abs=0.02)
    assert one(x, "flat") == 0


def test_a_clipped_sine_is_saturated_for_its_share_and_a_whole_one_is_not() -> None:
    sine = np.sin(2 * np.pi * T)
    assert one(sine, "saturation") == 0
    clipped = np.clip(sine, -0.5, 0.5)  # beyond half its height for two thirds of the time
    assert one(clipped, "saturation") == pytest.approx(2 / 3, abs=0.01)
    wide = Context(np.zeros(1), np.array([-1.0]), np.array([1.0]))  # the recording goes further: no rail here
    assert one(clipped, "saturation", context=wide) == 0


@pytest.mark.parametrize("hz", [2.0, 5.0, 10.0])
def test_a_peak_that_a_coarse_converter_flattens_is_not_clipped(hz: float) -> None:
    sine = np.sin(2 * np.pi * hz * T + 0.1)
    coarse = np.rint(sine * 20) / 20
    assert (np.diff(np.flatnonzero(coarse == coarse.max())) == 1).sum() > 4  # it has plateaus at the top
    assert one(coarse, "saturation") == 0
    assert one(np.clip(coarse, -0.5, 0.5), "saturation") == pytest.approx(2 / 3, abs=0.05)
    assert one(np.clip(sine + 0.02 * noise(), -0.7, 0.7), "saturation") > 0.3


def test_kurtosis_of_known_signals() -> None:
    assert one(np.sin(2 * np.pi * T), "kurtosis") == pytest.approx(1.5, abs=1e-3)
    assert one(noise(200_000), "kurtosis") == pytest.approx(3.0, abs=0.1)
    assert one(ecg(), "kurtosis") > 5
    assert np.isnan(one(np.full(100, 0.1, np.float32), "kurtosis"))


def test_planted_wander_is_its_share_of_the_power() -> None:
    fast, slow = np.sin(2 * np.pi * 10 * T), np.sin(2 * np.pi * 0.3 * T)
    assert one(fast, "baseline") == pytest.approx(0.0, abs=1e-3)
    assert one(fast + 7.0, "baseline") == pytest.approx(0.0, abs=1e-3)
    assert one(fast + slow, "baseline") == pytest.approx(0.5, abs=0.08)
    assert one(fast + 3 * slow, "baseline") == pytest.approx(0.9, abs=0.03)
    assert one(ecg(), "baseline") < 0.05 < one(ecg() + slow, "baseline")


@pytest.mark.parametrize("line", [50.0, 60.0])
def test_planted_hum_stands_above_its_neighbours(line: float) -> None:
    clean = noise()
    assert one(clean, "line_noise") == pytest.approx(1.0, abs=0.6)
    ratios = [one(clean + a * np.sin(2 * np.pi * line * T), "line_noise") for a in (0.1, 0.5, 2.0)]
    assert ratios[0] < ratios[1] < 10 < ratios[2]
    assert one(clean + 2 * np.sin(2 * np.pi * 40 * T), "line_noise") < 5
    # A sine of amplitude 0.5 has the power 1/8 in these 2 Hz; noise of variance 1 has 2/250 in every 1 Hz.
    assert ratios[1] == pytest.approx(1 + (0.125 / 2) / (2 / 250), rel=0.3)


def test_line_noise_equals_a_slow_fourier_sum() -> None:
    n, sfreq = 200, 200.0
    x = noise(n) + 3.0
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1, n + 1) / (n + 1))
    y = (x - x.mean()) * taper
    density = {f: abs(sum(y[t] * np.exp(-2j * np.pi * f * t / sfreq) for t in range(n))) ** 2 for f in range(40, 71)}
    expected = max(
        np.mean([p for f, p in density.items() if abs(f - line) <= 2])
        / np.mean([p for f, p in density.items() if 2 < abs(f - line) <= 7])
        for line in (50, 60)
    )
    assert one(x, "line_noise", sfreq=sfreq) == pytest.approx(expected)


def test_the_shape_of_a_window_against_a_template() -> None:
    beat = np.exp(-(((np.arange(100) - 40) / 4.0) ** 2) / 2)
    template = np.repeat(beat[None, :, None], 3, axis=0)
    windows = np.stack([2 * beat + 5, -beat, noise(100)])[:, :, None]
    context = Context(np.zeros(1), np.zeros(1), np.ones(1), template)
    got = quality_indices(windows, 125.0, ["ecg"], context=context, names=["template"])["template"][:, 0]
    np.testing.assert_allclose(got[:2], [1.0, -1.0])
    assert got[2] == pytest.approx(np.corrcoef(windows[2, :, 0], beat)[0, 1])
    windows[0, 10:20] = np.nan
    again = quality_indices(windows, 125.0, ["ecg"], context=context, names=["template"])["template"][:, 0]
    np.testing.assert_allclose(again[0], 1.0)
    other = quality_indices(windows, 125.0, ["eeg"], context=context, names=["template"])["template"]
    assert np.isnan(other).all()


def test_beats_of_a_clean_window_agree_and_those_of_noise_do_not() -> None:
    assert one(ecg(), "template") > 0.97
    assert one(ecg(jitter=0.6), "template") < one(ecg(jitter=0.2), "template") < one(ecg(), "template")
    assert one(noise(), "template") < USUAL["template"].least < one(ecg(), "template")  # type: ignore[operator]
    assert np.isnan(one(ecg()[:300], "template"))  # too short for three beats
    assert np.isnan(one(np.zeros(2500), "template"))


def test_r_peaks_are_found_where_they_are() -> None:
    planted = np.arange(0.4, 9.8, 1 / 1.2)
    x = ecg() + 0.3 * np.sin(2 * np.pi * 0.3 * T)
    found = peaks_of_window(energy_of_windows(x[None, :, None], SFREQ)[0], SFREQ) / SFREQ
    assert len(found) == len(planted)
    np.testing.assert_allclose(found, planted, atol=0.05)


# -------------------------------------------------------------------------------------- what is not applicable


@pytest.mark.parametrize(
    ("name", "kind", "n_times", "sfreq"),
    [
        ("baseline", "ecg", 100, 125.0),  # 0.8 s
        ("baseline", "acc", 2500, 250.0),
        ("line_noise", "eeg", 1000, 100.0),  # above half the rate
        ("line_noise", "eeg", 100, 250.0),  # 0.4 s
        ("line_noise", "gyr", 2500, 250.0),
        ("template", "eeg", 2500, 250.0),
        ("template", "ecg", 1000, 40.0),
        ("flat", "ecg", 4, 10.0),
    ],
)
def test_not_applicable(name: str, kind: str, n_times: int, sfreq: float) -> None:
    assert np.isnan(one(noise(n_times), name, kind, sfreq))


@pytest.mark.parametrize("n_times", [1, 2, 3, 5])
def test_tiny_windows_are_no_error(n_times: int) -> None:
    x = noise(n_times)[None, :, None]
    found = quality_indices(x, 10.0, ["ecg"])
    assert list(found) == list(INDICES)
    assert all(values.shape == (1, 1) for values in found.values())
    assert quality_indices(x[:0], 10.0, ["ecg"])["flat"].shape == (0, 1)


def test_a_window_of_gaps_only_has_nothing_but_its_gap() -> None:
    found = quality_indices(np.full((1, 2500, 1), np.nan), SFREQ, ["ecg"])
    assert found["nan"][0, 0] == 1.0
    assert all(np.isnan(values[0, 0]) for name, values in found.items() if name != "nan")


def test_padding_counts_in_no_index() -> None:
    x, valid = np.zeros((1, 2500, 1)), np.zeros((1, 2500), bool)
    x[0, :2000, 0], valid[0, :2000] = ecg()[:2000], True
    padded = quality_indices(x, SFREQ, ["ecg"], valid=valid, names=["flat", "nan", "kurtosis", "saturation"])
    alone = quality_indices(x[:, :2000], SFREQ, ["ecg"], names=["flat", "nan", "kurtosis", "saturation"])
    for name, values in alone.items():
        np.testing.assert_allclose(padded[name], values, err_msg=name)


def test_a_window_does_not_depend_on_its_batch() -> None:
    x = np.random.default_rng(3).standard_normal((7, 500, 3)).astype(np.float32)
    whole = quality_indices(x, SFREQ, ["ecg", "eeg", "acc"])
    for b in range(7):
        alone = quality_indices(x[b : b + 1], SFREQ, ["ecg", "eeg", "acc"])
        for name in INDICES:
            np.testing.assert_array_equal(whole[name][b], alone[name][0], err_msg=name)


def test_any_channel_beyond_counts_and_what_is_not_applicable_does_not() -> None:
    values = {"flat": np.array([[0.0, 0.2], [0.1, np.nan], [np.nan, np.nan]])}
    assert beyond(values, "flat", None, 0.15).tolist() == [True, False, False]
    assert beyond(values, "flat", 0.05, None).tolist() == [True, False, False]
    assert beyond(values, "flat", None, None).tolist() == [False, False, False]
