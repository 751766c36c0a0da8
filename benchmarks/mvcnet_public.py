"""The public MVCNet training function, on a CPU.

A local clone of https://github.com/wzwvv/MVCNet is imported and its `train_target` runs unmodified: views, both
branches, losses, backward and four Adams. It asks for a CUDA device, so from outside ``.cuda()`` is made to do
nothing and ``torch.device`` to give the CPU. What it imports and the step never calls (readers, other backbones,
progress files, the test set's score) is replaced by empty modules, so none of it has to be installed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Hook = Callable[..., None]


class Torch(types.ModuleType):
    """The module torch with another default device and another idea of float32."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__("torch")
        self.float32 = dtype
        self.device = lambda name: torch.device("cpu")

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def empty(name: str, **content: Any) -> None:
    """Put a module in the place of one that is not needed."""
    module = types.ModuleType(name)
    module.__path__ = []  # so that modules below it can be put in place, too
    vars(module).update(content)
    sys.modules[name] = module


class Unused:
    """Stands for a class that is made and never called."""

    def __init__(self, *args: Any, **keys: Any) -> None:
        pass


def public_module(checkout: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The script ``MVCNet_CO``, ready to run on a CPU in `dtype`."""
    sys.path.insert(0, str(checkout.resolve()))
    for name in ("timm", "timm.models", "braindecode"):
        empty(name)
    empty("timm.models.layers", trunc_normal_=nn.init.trunc_normal_)
    names = ("FTSurrogate", "SmoothTimeMask", "ChannelsDropout", "FrequencyShift")
    empty("braindecode.augmentation", **dict.fromkeys(names, Unused))
    empty("info_nce", InfoNCE=Unused)
    importlib.import_module("utils")
    importlib.import_module("models")
    nothing = dict.fromkeys(("fix_random_seed", "cal_acc_comb", "data_loader_within", "read_mi_within_tar"))
    empty("models.Conformer", Conformer=Unused)
    empty("utils.utils", **nothing)
    empty("utils.dataloader", **nothing)
    empty("utils.LogRecord", LogRecord=Unused)
    torch.Tensor.cuda = nn.Module.cuda = lambda self, *args, **keys: self  # type: ignore[method-assign,assignment]
    module = importlib.import_module("MVCNet_CO")
    module.torch = Torch(dtype)
    return module


def arguments(n_chans: int, n_times: int, batch_size: int, n_steps: int) -> argparse.Namespace:
    """What the script sets for BNCI2014001, with the sizes that follow from `n_times`."""
    features = 64 * (n_times // 125)
    return argparse.Namespace(
        data_name="BNCI2014001",
        chn=n_chans,
        class_num=2,
        time_sample_num=n_times,
        sample_rate=250,
        weight=1,
        backbone="IFNet",
        encoder="Transformer",
        embed_dims=64,
        patch_size=125,
        feature_deep_dim=features,
        projector_dim1=4 * features,
        projector_dim2=features,
        dim_e=n_times - 1,
        dim_p=n_chans * (n_times - 1),
        aug=True,
        augmethod1="flip",
        augmethod2="freq",
        augmethod3="cr",
        freq_method="shift",
        freq_mode=0.1,
        augsettings="pos",
        Context_Cont_temperature=0.2,
        Context_Cont_use_cosine_similarity=True,
        lamda1=0.1,
        lamda2=0.1,
        align=True,
        lr=0.001,
        batch_size=batch_size,
        max_epoch=n_steps,
        data_env="gpu",
        task_str="",
        idt=0,
        SEED=0,
        log=types.SimpleNamespace(record=lambda text: None),
    )


class OneBatch:
    """A loader of one batch, so that every epoch is a step; says when training begins."""

    def __init__(self, x: Tensor, y: Tensor, at_begin: Hook) -> None:
        self.batch, self.at_begin = (x, y), at_begin

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.at_begin()
        self.at_begin = lambda: None
        yield self.batch


def train(
    module: Any,
    args: argparse.Namespace,
    x: Tensor,
    y: Tensor,
    *,
    at_begin: Hook = lambda: None,
    after_step: Hook = lambda: None,
    prepared: Callable[[str, nn.Module], nn.Module] = lambda name, network: network,
) -> None:
    """Run the public `train_target` for ``args.max_epoch`` steps on one batch.

    Parameters
    ----------
    module
        From `public_module`.
    args : Namespace
    x : Tensor, shape (B, n_chans, n_times)
    y : Tensor, shape (B,)
    at_begin, after_step : callable
        Called before the first step and after each.
    prepared : callable
        Given each network once it is made (``features``, ``classifier``, ``encoder``, ``projector``) and gives it back.
    """
    made = (module.backbone_net_ifnet, module.encoder, module.projector)

    def networks(*given: Any, **keys: Any) -> tuple[nn.Module, nn.Module]:
        features, classifier = made[0](*given, **keys)
        return prepared("features", features), prepared("classifier", classifier)

    def score(*given: Any, **keys: Any) -> tuple[float, None]:
        after_step()
        return 0.0, None

    loader = OneBatch(x, y, at_begin)
    module.backbone_net_ifnet = networks
    module.encoder = lambda *given, **keys: prepared("encoder", made[1](*given, **keys))
    module.projector = lambda *given, **keys: prepared("projector", made[2](*given, **keys))
    module.read_mi_within_tar = lambda args: (x, y, x, y)
    module.data_loader_within = lambda *given: {"source": loader, "target-online": loader}
    module.cal_acc_comb = score
    here = Path.cwd()
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            os.chdir(folder)  # it writes its weights below the working directory
            try:
                module.train_target(args)
            finally:
                os.chdir(here)
    finally:
        module.backbone_net_ifnet, module.encoder, module.projector = made
