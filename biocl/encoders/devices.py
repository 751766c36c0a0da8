"""Several devices on one person: an encoder that equal ones share, or one for each, and what joins them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from biocl.encoders.dual import FusedLatents, joined_stages
from biocl.encoders.encoder import Encoder
from biocl.encoders.latents import Latents, read_out_of, vec_dim
from biocl.encoders.spec import DevicesSpec
from biocl.errors import UsageError
from biocl.signals.devices import Device


class DeviceEncoder(nn.Module):
    """What every device says, and a vector that knows which devices are there.

    The sequence ``seq`` is the mean over the devices that are there.

    Parameters
    ----------
    spec : DevicesSpec
    devices : sequence of Device
    encoders : mapping of str to Encoder
        One for each different `Device.key`.
    n_times : int
        Samples of a window.

    Attributes
    ----------
    out_dim, vec_dim : int
        Width of `seq`, and of the joined vector.
    branch_dims : dict of str to (int, int)
        Widths of a step and of the vector of each device.
    """

    hidden_dim: int | None = None

    def __init__(
        self, spec: DevicesSpec, devices: Sequence[Device], encoders: Mapping[str, Encoder], n_times: int
    ) -> None:
        super().__init__()
        self.spec, self.devices = spec, tuple(devices)
        self.encoders = nn.ModuleDict(encoders)
        main = next(iter(encoders.values()))
        self.steps_are_time, self.out_dim = main.steps_are_time, main.out_dim
        self.receptive_field = max(encoder.receptive_field for encoder in encoders.values())
        self.least_times = max(encoder.least_times for encoder in encoders.values())
        widths = {vec_dim(spec.each, encoder, n_times) for encoder in encoders.values()}
        if len(widths) > 1:
            raise UsageError(
                "Devices with different channels get vectors of different width "
                f"({', '.join(map(str, sorted(widths)))})",
                "encoder.each",
                "Choose an encoder and a pool whose width does not depend on the channels",
            )
        (width,) = widths
        self.branch_dims = {device.name: (self.out_dim, width) for device in self.devices}
        self.fusion: SequentialFusion | None = None
        self.vec_dim = width * len(self.devices) if spec.fusion == "concat" else width
        if spec.fusion == "sequential":
            self.fusion = SequentialFusion([device.name for device in self.devices], width, spec.state_dim)
            self.vec_dim = spec.state_dim

    @property
    def blocks(self) -> list[nn.ModuleList]:
        """Stages, counted from the end: the last holds the last stage of each encoder and the fusion."""
        return joined_stages(self.encoders.values(), self.fusion)

    def n_steps(self, n_times: int) -> int:
        """Steps of `seq`."""
        return next(iter(self.encoders.values())).n_steps(n_times)  # type: ignore[operator]

    def forward(
        self,
        x: Tensor,
        keep: Tensor | None = None,
        *,
        only_predicting: bool = False,
        present: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Encode every device.

        Parameters
        ----------
        x : Tensor, shape (B, n_chans, n_times)
            All devices' channels; an absent device's are 0.
        keep : None
            No hidden sequence is masked.
        only_predicting : bool
            All devices predict.
        present : bool Tensor, shape (B, n_devices), optional
            Which devices are there: the statistics of a batch are those of what is there.

        Returns
        -------
        dict of str to Tensor
            Sequences (B, L, out_dim) of the devices, before the shared dropout.
        """
        assert keep is None
        out: dict[str, Tensor] = {}
        for key, encoder in self.encoders.items():
            mine = [device for device in self.devices if device.key(shared=self.spec.share) == key]
            columns = torch.tensor([device.columns for device in mine], device=x.device)
            rows = x[:, columns].transpose(0, 1)
            if present is not None and normalises_batches(encoder):
                numbers = [self.devices.index(device) for device in mine]
                each = of_present(encoder, rows, present[:, numbers].T)
            elif len(mine) == 1 or (x.device.type == "cpu" and not normalises_batches(encoder)):
                # The same numbers; a processor is spared tensors of all devices that it would have to take apart.
                each = [encoder(one) for one in rows]
            else:
                each = encoder(rows.flatten(0, 1)).unflatten(0, (len(mine), len(x))).unbind()
            out |= {device.name: one for device, one in zip(mine, each, strict=True)}
        return {device.name: out[device.name] for device in self.devices}

    def latents(
        self,
        trunks: Mapping[str, Tensor],
        *,
        training: bool,
        valid: Tensor | None = None,
        present: Tensor | None = None,
    ) -> FusedLatents:
        """One dropout draw of each device's sequence, and what they say together.

        Parameters
        ----------
        trunks : mapping of str to Tensor
            From `forward`.
        training : bool
        valid : bool Tensor, shape (B, n_times), optional
        present : bool Tensor, shape (B, n_devices), optional
            Which devices are there; None where all are.
        """
        valid = valid if self.steps_are_time else None
        own = {
            name: read_out_of(self.spec.each, trunk, training=training, valid=valid) for name, trunk in trunks.items()
        }

        def states() -> Tensor:
            assert self.fusion is not None
            return self.fusion.states(torch.stack([one.vec for one in own.values()]), present)

        def fuse(latents: Mapping[str, Latents]) -> Tensor:
            if self.fusion is not None:
                return states()[-1]
            vectors = torch.stack([one.vec for one in latents.values()])
            if self.spec.fusion == "mean":
                return weighted_mean(vectors, present)
            if present is not None:
                vectors = vectors * present.T[..., None]
            return vectors.transpose(0, 1).flatten(1)

        main = next(iter(own.values()))
        made = DeviceLatents(
            main.seq,
            main.pool,
            main.valid,
            main.segments,
            of_branch=own,
            fuse=fuse,
            states=states if self.fusion is not None else None,
            present=present,
        )
        del vars(made)["seq"]
        return made


def of_present(encoder: nn.Module, rows: Tensor, there: Tensor) -> list[Tensor]:
    """Sequences (B, L, D) of each device's windows (V, B, C, T), made of those that are there (V, B); 0 elsewhere."""
    flat, kept = rows.flatten(0, 1), there.flatten()
    some = encoder(flat[kept] if int(kept.sum()) > 1 else flat)
    every = some.new_zeros(len(flat), *some.shape[1:])
    every[kept] = some if int(kept.sum()) > 1 else some[kept]
    return list(every.unflatten(0, there.shape).unbind())


def normalises_batches(encoder: nn.Module) -> bool:
    """Whether what is said of a window depends on the others of the batch."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in encoder.modules())


class DeviceLatents(FusedLatents):
    """What devices say together; few terms read the mean of their sequences, so it waits until one does."""

    @cached_property
    def seq(self) -> Tensor:
        """The mean over the devices that are there, shape (B, L, D)."""
        return weighted_mean(torch.stack([one.seq for one in self.of_branch.values()]), self.present)


def weighted_mean(values: Tensor, present: Tensor | None) -> Tensor:
    """Mean over devices (V, B, …) of those that are there, (B, …); 0 where none is."""
    if present is None:
        return values.mean(dim=0)
    weight = present.T.to(values.dtype).view(*present.T.shape, *[1] * (values.ndim - 2))
    return (values * weight).sum(dim=0) / weight.sum(dim=0).clamp(min=1)


class SequentialFusion(nn.Module):
    """A state that each device in turn updates, and that an absent one leaves as it is.

    ``state <- state + MLP_v([vector_v, state])`` for every device v that is there, from a learned beginning. What the
    state is after a device does not depend on those that come later.

    Parameters
    ----------
    names : sequence of str
        Devices, in the order of their turns.
    in_dim, state_dim : int
        Widths of a device's vector and of the state.

    References
    ----------
    Swamy et al. 2023, "MultiModN: multimodal, multi-task, interpretable modular networks" (missing inputs are skipped
    sample by sample here).
    """

    def __init__(self, names: Sequence[str], in_dim: int, state_dim: int) -> None:
        super().__init__()
        self.begin = nn.Parameter(torch.zeros(state_dim))
        self.turns = nn.ModuleDict(
            {
                name.replace(".", "-"): nn.Sequential(
                    nn.Linear(in_dim + state_dim, state_dim), nn.ReLU(), nn.Linear(state_dim, state_dim)
                )
                for name in names
            }
        )

    def forward(self, vectors: Tensor, present: Tensor | None = None) -> Tensor:
        """Vectors (V, B, in_dim) to the last state (B, state_dim); see `states`."""
        return self.states(vectors, present)[-1]

    def states(self, vectors: Tensor, present: Tensor | None = None) -> Tensor:
        """The state before the first device and after each, (V + 1, B, state_dim)."""
        state = self.begin.expand(vectors.shape[1], -1)
        found = [state]
        for v, turn in enumerate(self.turns.values()):
            new = state + turn(torch.cat([vectors[v], state], dim=1))
            state = new if present is None else torch.where(present[:, v, None], new, state)
            found.append(state)
        return torch.stack(found)
