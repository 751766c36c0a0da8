"""The MATLAB reader against scipy's, which writes and reads the same files, over types, shapes and versions."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.io import loadmat, savemat

from biocl.signals.readers.matlab import read_variable, variables

TYPES = ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "bool"]
WAYS = [{"format": "5"}, {"format": "5", "do_compression": True}, {"format": "4"}]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data(), dtype=st.sampled_from(TYPES), way=st.sampled_from(WAYS))
def test_equals_scipy(data: st.DataObject, dtype: str, way: dict[str, object]) -> None:
    if way["format"] == "4" and dtype not in ("f8", "f4", "i4", "i2", "u2", "u1"):
        dtype = "f8"
    values = data.draw(arrays.arrays(dtype, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40)))
    file = io.BytesIO()
    savemat(file, {"first": 1.0, "signal": values, "text": "some words", "z": np.ones((2, 2)) * 1j}, **way)  # type: ignore[arg-type]
    found = {variable.name: variable for variable in variables(file.getbuffer())}
    assert found["z"].shape == found["text"].shape == ()
    read = read_variable(file.getbuffer(), found["signal"])
    expected = loadmat(file)["signal"]
    assert read.shape == expected.shape
    np.testing.assert_array_equal(read, expected)


def test_matrices_of_others(test_data: Path) -> None:
    paths = [
        *sorted((test_data / "ecg" / "ecgid").glob("*/*.mat"))[:4],
        *sorted((test_data / "ecg" / "cinc2021-sample").glob("*.mat"))[:4],
        *sorted((test_data / "eeg" / "mne-testdata" / "edf").rglob("*.mat")),
    ]
    assert len(paths) > 8
    compared = 0
    for path in paths:
        data = memoryview(path.read_bytes())
        for variable in variables(data):
            if variable.shape:
                np.testing.assert_array_equal(
                    read_variable(data, variable), loadmat(path, variable_names=[variable.name])[variable.name]
                )
                compared += 1
    assert compared >= 8


@pytest.mark.parametrize("keep", [0, 3, 19, 60, 127, 130, 200])
def test_a_cut_file(keep: int) -> None:
    file = io.BytesIO()
    savemat(file, {"signal": np.ones((20, 3))})
    with pytest.raises(ValueError, match=r"short|longer|end"):
        variables(memoryview(file.getvalue()[:keep]))
