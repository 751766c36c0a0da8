"""The picture of a receptive field says which steps ahead it is about, and how far back it looks."""

from __future__ import annotations

import io

import numpy as np
import pytest

from biocl.reports.receptive import picture_of_receptive_field


def test_a_picture_has_a_line_for_each_step_ahead() -> None:
    field = np.random.default_rng(0).random((3, 48))
    text = picture_of_receptive_field(field, [1, 12, 24], 1 / 3600, title="joint, 48 to 24", form="svg").decode()
    for words in ("joint, 48 to 24", "1 hours ahead", "24 hours ahead", "hours before the forecast"):
        assert f"<!-- {words} -->" in text


@pytest.mark.parametrize("length", [1, 5])
def test_a_png_can_be_read(length: int) -> None:
    from matplotlib.image import imread

    picture = picture_of_receptive_field(np.ones((1, length)), [1], 100.0, title="one")
    assert imread(io.BytesIO(picture)).shape[2] == 4
