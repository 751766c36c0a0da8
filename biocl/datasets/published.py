"""Published splits: lists of patients in files beside this module, one file a data set."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def published_splits(dataset: str) -> dict[str, dict[str, Any]]:
    """All published splits of a data set, by name, each the content of a split file.

    Parameters
    ----------
    dataset : str
        Its name; the lists stand in ``biocl/datasets/splits/NAME.json``.
    """
    text = files("biocl.datasets").joinpath("splits", f"{dataset}.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = json.loads(text)
    return found
