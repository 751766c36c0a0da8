"""What the adapters to other libraries share: a feature extractor with any output as an encoder."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from biocl.encoders.encoder import Encoder
from biocl.errors import UsageError

N_WINDOWS = 4
AUDIO_VISION = ("torchaudio", "torchvision")


class ForeignEncoder(Encoder):
    """A network of another library that maps windows (B, n_chans, n_times) to features (B, D) or (B, D, L).

    It is run once at the start, on windows of pink noise, to see what comes out (and so that a model that takes
    constants from the first windows it sees, as MiniRocket does, takes them from no patient). It serves windows of the
    length it was made for. Its receptive field is not known, so it is given as the whole window. Tensors that the
    network keeps in plain lists are saved and moved with the weights; a weight that it reaches by two names is saved
    once.

    Parameters
    ----------
    name : str
    network : Module
        Without its classifier.
    n_chans, n_times : int

    Raises
    ------
    UsageError
        The network cannot read such windows, or gives features of another form.
    """

    def __init__(self, name: str, network: nn.Module, n_chans: int, n_times: int) -> None:
        shape = shape_of_features(name, network, n_chans, n_times)
        super().__init__(name, n_chans, out_dim=shape[1], receptive_field=n_times, least_times=n_times)
        self.network = network
        self.listed = keep_listed_tensors(network)
        self.n_times, self.length = n_times, shape[2] if len(shape) == 3 else 1
        self.stages = stages_of(network)
        self.aliases = second_names(self)
        self.register_state_dict_post_hook(drop_aliases)
        self.register_load_state_dict_pre_hook(restore_aliases)

    @property
    def blocks(self) -> list[nn.Module]:  # type: ignore[override]
        """The network's parts that have weights, first to last."""
        return [self.network.get_submodule(name) for name in self.stages]

    def n_steps(self, n_times: int) -> int:
        """Steps of the features; one where they are flat."""
        return self.length

    def encode(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Windows (B, n_chans, n_times) to (B, L, out_dim)."""
        if x.shape[2] != self.n_times:
            raise UsageError(
                f"The encoder {self.name} was made for windows of {self.n_times} samples, and these have {x.shape[2]}",
                "encoder",
                "Cut windows of that length",
            )
        for module, attribute, n_tensors in self.listed:
            owner = self.network.get_submodule(module)
            setattr(owner, attribute, [getattr(owner, f"{attribute}_{i}") for i in range(n_tensors)])
        # A copy, since some of these networks write into their input.
        features = self.network(x.clone(memory_format=torch.contiguous_format))
        return features.unsqueeze(1) if features.ndim == 2 else features.transpose(1, 2)


def shape_of_features(name: str, network: nn.Module, n_chans: int, n_times: int) -> tuple[int, ...]:
    """Shape of the features of windows of noise, in evaluation mode; torch's random state is left as it was."""
    was_training = network.training
    with torch.random.fork_rng(devices=[]), seeded_by_torch(), torch.no_grad():
        try:
            noise = pink_noise(N_WINDOWS, n_chans, n_times)
            features = network.eval()(noise.clone())
            alone = network(noise[:1].clone())
        except Exception as error:  # whatever another library raises
            raise UsageError(
                f"{name} cannot read windows of {n_chans} channels and {n_times} samples "
                f"({type(error).__name__}: {one_line(error)})",
                "encoder",
                "Cut longer windows (data.windows), or set encoder.arguments",
            ) from error
    network.train(was_training)
    if not isinstance(features, Tensor) or features.ndim not in (2, 3):
        form = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise UsageError(
            f"{name} gives features of the form {form}, and an encoder needs (windows, features) or "
            "(windows, features, steps)",
            "encoder.name",
            "Choose another model",
        )
    if not torch.allclose(features[:1], alone, rtol=1e-2, atol=1e-3):
        raise UsageError(
            f"{name} gives a window other features when other windows stand beside it, also in evaluation",
            "encoder.name",
            "Choose another model",
        )
    return tuple(features.shape)


def pink_noise(n_windows: int, n_chans: int, n_times: int) -> Tensor:
    """Noise whose power falls as one over frequency, like that of many biosignals, of variance 1."""
    spectrum = torch.fft.rfft(torch.randn(n_windows, n_chans, n_times))
    spectrum = spectrum / torch.arange(spectrum.shape[2]).clamp(min=1).sqrt()
    noise = torch.fft.irfft(spectrum, n=n_times)
    return (noise - noise.mean(dim=2, keepdim=True)) / noise.std(dim=2, keepdim=True).clamp(min=1e-6)


def keep_listed_tensors(network: nn.Module) -> list[tuple[str, str, int]]:
    """Register tensors in plain lists as buffers, since a list is neither saved nor moved; where each list belongs."""
    found = []
    for name, module in network.named_modules():
        for attribute, value in list(vars(module).items()):
            # Recurrent layers list their parameters, which are saved already.
            plain = isinstance(value, list) and all(type(one) is Tensor for one in value)
            if plain and value:
                for i, one in enumerate(value):
                    module.register_buffer(f"{attribute}_{i}", one)
                found.append((name, attribute, len(value)))
    return found


def second_names(module: nn.Module) -> dict[str, str]:
    """Names of parameters and buffers that have another name already, which comes first, and that other name."""
    first: dict[int, str] = {}
    second = {}
    for tensors in (module.named_parameters, module.named_buffers):
        for name, tensor in tensors(remove_duplicate=False):
            if first.setdefault(id(tensor), name) != name:
                second[name] = first[id(tensor)]
    return second


def drop_aliases(module: ForeignEncoder, state: dict[str, Any], prefix: str, _: Any) -> None:
    """Save each weight under one name, as files of tensors demand."""
    for name in module.aliases:
        del state[prefix + name]


def restore_aliases(module: ForeignEncoder, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Give back the names that were dropped."""
    for name, first in module.aliases.items():
        if prefix + first in state:
            state.setdefault(prefix + name, state[prefix + first])


def stages_of(network: nn.Module) -> list[str]:
    """Names of a network's parts that have parameters, after opening parts that are the only one."""
    prefix, here = "", network
    while True:
        parts = [name for name, part in here.named_children() if any(True for _ in part.parameters())]
        own = any(True for _ in here.parameters(recurse=False))
        if own or not parts:
            return [prefix.rstrip(".")] if prefix else [""]
        if len(parts) > 1:
            return [prefix + name for name in parts]
        prefix, here = f"{prefix}{parts[0]}.", here.get_submodule(parts[0])


@contextmanager
def seeded_by_torch() -> Iterator[None]:
    """Let NumPy's and Python's global random streams follow torch's inside, and go on as before afterwards; some of
    these networks draw constants from them."""
    seed = int(torch.randint(2**31, ()))
    before = np.random.get_state(), random.getstate()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before[0])  # noqa: NPY002
        random.setstate(before[1])


def one_line(error: BaseException) -> str:
    """The start of an error's text, on one line."""
    return " ".join(str(error).split())[:200]


def missing(library: str, error: BaseException) -> UsageError:
    """One paragraph on a library that is not installed or does not import."""
    absent = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == library
    if absent:
        return UsageError(
            f"Encoders of {library} need {library}, which is not installed",
            "encoder.name",
            f'Install it with: pip install "biocl[{library}]"',
        )
    lacks = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] not in AUDIO_VISION
    return UsageError(
        f"{library} is installed and cannot be imported ({type(error).__name__}: {one_line(error)})",
        "encoder.name",
        f'Install what it lacks with: pip install --upgrade "biocl[{library}]"' if lacks else WHY[library],
    )


WHY = {
    "tsai": "It needs a torchvision that was built for this torch: install both from the same index, for instance "
    "pip install --force-reinstall torch torchvision",
    "braindecode": "It needs a torchaudio that matches torch, down to the CUDA version; the newest torch has none: "
    "install torch 2.11 with torchaudio 2.11 in an environment of its own, from one index, for instance pip install "
    '"torch==2.11.*" "torchaudio==2.11.*" "biocl[braindecode]"',
}
