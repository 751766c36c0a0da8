"""Models of tsai as encoders, each imported alone and only when it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from biocl.encoders.foreign import ForeignEncoder, missing, seeded_by_torch
from biocl.encoders.spec import TsaiSpec
from biocl.errors import UsageError


class TsaiEncoder(ForeignEncoder):
    """A classifier of tsai without its head.

    Parameters
    ----------
    spec : TsaiSpec
        ``tsai/CLASS`` with further arguments of the class.
    n_chans, n_times : int

    Raises
    ------
    UsageError
        tsai is not installed or does not import, has no such class, or the class has no ``backbone``.
    """

    def __init__(self, spec: TsaiSpec, n_chans: int, n_times: int) -> None:
        name = spec.name.removeprefix("tsai/")
        model = made(model_class(name), spec, n_chans, n_times)
        if name == "PatchTST":
            network: nn.Module = PatchTSTFeatures(model)
        elif hasattr(model, "backbone") and hasattr(model, "head_nf"):
            network = model.backbone
        else:
            raise UsageError(
                f"{spec.name} has no backbone apart from its head, so it cannot be an encoder",
                "encoder.name",
                "Choose a model whose name ends in Plus, for instance tsai/InceptionTimePlus",
            )
        super().__init__(spec.name, network, n_chans, n_times)


class PatchTSTFeatures(nn.Module):
    """PatchTST up to its head: each channel's patches on their own, features of all channels side by side.

    The forecast's return to the input's scale is left out with the head; the windows' own scaling stays.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        inner = model.model
        self.revin = inner.revin_layer if inner.revin else None
        self.pad, self.patch, self.stride = inner.padding_patch_layer, inner.patch_len, inner.stride
        self.padded = bool(inner.padding_patch)
        self.backbone = inner.backbone

    def forward(self, x: Tensor) -> Tensor:
        """Windows (B, n_chans, n_times) to (B, n_chans * d_model, n_patches)."""
        if self.revin is not None:
            x = self.revin(x, torch.tensor(True))
        patches = (self.pad(x) if self.padded else x).unfold(-1, self.patch, self.stride)
        return self.backbone(patches.transpose(2, 3)).flatten(1, 2)


def model_class(name: str) -> Any:
    """The class of a model, from the one file that defines it; tsai's collection of all models is not imported."""
    found = importlib.util.find_spec("tsai")
    if found is None or not found.submodule_search_locations:
        raise missing("tsai", ModuleNotFoundError("tsai", name="tsai"))
    folder = Path(found.submodule_search_locations[0]) / "models"
    defined = re.compile(rf"^(class {name}\b|{name} *=)", re.MULTILINE)
    # A file that is named like the class comes first: tsai keeps older forms of some classes in other files.
    for path in sorted(folder.glob("*.py"), key=lambda path: (path.stem != name, path.stem)):
        if defined.search(path.read_text(encoding="utf-8")):
            return getattr(imported(f"tsai.models.{path.stem}"), name)
    raise UsageError(
        f"tsai has no model {name!r}", "encoder.name", "Write it as tsai's documentation does: tsai/InceptionTimePlus"
    )


def imported(module: str) -> Any:
    """Import a module of tsai; what goes wrong becomes one paragraph, its deprecation warnings are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(module)
        except (ImportError, RuntimeError, OSError, AttributeError) as error:
            raise missing("tsai", error) from error


def made(model: Any, spec: TsaiSpec, n_chans: int, n_times: int) -> Any:
    """An instance for windows of that form; classes differ in whether they ask for the length."""
    known = inspect.signature(model).parameters
    facts = {"c_in": n_chans, "c_out": 2, "seq_len": n_times, "pred_dim": 1, "device": torch.device("cpu")}
    # A shorthand for another class hides what that class takes.
    taken = known if "c_in" in known else ("c_in", "c_out", "seq_len")
    given = {name: value for name, value in facts.items() if name in taken} | spec.arguments
    try:
        with seeded_by_torch():
            return model(**given)
    except Exception as error:  # whatever tsai raises for arguments that do not fit
        raise UsageError(
            f"{spec.name} cannot be made for {n_chans} channels and {n_times} samples "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]})",
            "encoder.arguments",
            "Check the arguments against tsai's documentation, or cut longer windows (data.windows)",
        ) from error
