"""Models of braindecode as encoders, imported only when one is asked for."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from torch import Tensor, nn

from biocl.encoders.foreign import ForeignEncoder, missing, one_line, seeded_by_torch
from biocl.encoders.spec import BraindecodeSpec
from biocl.errors import UsageError


class BraindecodeEncoder(ForeignEncoder):
    """A classifier of braindecode whose ``final_layer`` (or list of them) is taken off.

    Parameters
    ----------
    spec : BraindecodeSpec
        ``braindecode/CLASS`` with further arguments of the class.
    n_chans, n_times : int
    sfreq : float

    Raises
    ------
    UsageError
        braindecode is not installed or does not import, has no such class, or the class has no ``final_layer``.
    """

    def __init__(self, spec: BraindecodeSpec, n_chans: int, n_times: int, sfreq: float) -> None:
        model = model_class(spec.name.removeprefix("braindecode/"))
        facts = {"n_outputs": 2, "n_chans": n_chans, "n_times": n_times, "sfreq": sfreq}
        try:
            with warnings.catch_warnings(), seeded_by_torch():
                warnings.simplefilter("ignore")
                network = model(**{**facts, **spec.arguments})
        except Exception as error:  # whatever braindecode raises for arguments that do not fit
            raise UsageError(
                f"{spec.name} cannot be made for {n_chans} channels, {n_times} samples and {sfreq:g} Hz "
                f"({type(error).__name__}: {one_line(error)})",
                "encoder.arguments",
                "Check the arguments against braindecode's documentation, or cut longer windows (data.windows)",
            ) from error
        if not isinstance(getattr(network, "final_layer", None), nn.Module):
            raise UsageError(
                f"{spec.name} has no final_layer that could be taken off, so it cannot be an encoder",
                "encoder.name",
                "Choose another model of braindecode, for instance braindecode/ShallowFBCSPNet",
            )
        network.final_layer = open_end(network.final_layer)
        super().__init__(spec.name, Headless(network), n_chans, n_times)


def open_end(final_layer: nn.Module) -> nn.Module:
    """What stands in a classifier's place; a list of them (ATCNet has one for each part of the window) stays a list."""
    if isinstance(final_layer, nn.ModuleList):
        return nn.ModuleList([nn.Identity() for _ in final_layer])
    return nn.Identity()


class Headless(nn.Module):
    """A model without its classifier; maps (B, D, L, 1) and (B, D, 1, L) are read as (B, D, L)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Windows (B, n_chans, n_times) to features (B, D) or (B, D, L)."""
        features = self.model(x)
        if features.ndim == 4:
            features = features.flatten(2)
        return features


def model_class(name: str) -> Any:
    """A class of ``braindecode.models``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            models = importlib.import_module("braindecode.models")
        except (ImportError, RuntimeError, OSError, AttributeError) as error:
            raise missing("braindecode", error) from error
    if not isinstance(getattr(models, name, None), type):
        raise UsageError(
            f"braindecode has no model {name!r}",
            "encoder.name",
            "Write it as braindecode's documentation does: braindecode/ShallowFBCSPNet",
        )
    return getattr(models, name)
