"""Several devices on one person: an encoder that equal ones share, or one for each, and what joins them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from biocl.encoders.dual import DualEncoder, Trunks, joined_stages
from biocl.encoders.encoder import Encoder
from biocl.encoders.latents import MAIN, Latents, read_out_of, vec_dim
from biocl.encoders.spec import DevicesSpec, DualSpec
from biocl.errors import UsageError
from biocl.signals.devices import Device

Dims = tuple[int, int]


class DeviceEncoder(nn.Module):
    """What every device says, and a vector that knows which devices are there.

    The sequence ``seq`` is the mean over the devices that are there.

    Parameters
    ----------
    spec : DevicesSpec
    devices : sequence of Device
    encoders : mapping of str to Encoder or DualEncoder
        One for each different `Device.key`.
    n_times : int
        Samples of a window.

    Attributes
    ----------
    out_dim, vec_dim : int
        Width of `seq`, and of the joined vector.
    device_dims, branch_dims : dict of str to (int, int)
        Widths of a step and of the vector of each device, and of each branch of a device.
    steps_alike : bool
        Whether all devices have the same number of steps, which `seq` needs.
    """

    hidden_dim: int | None = None

    def __init__(
        self,
        spec: DevicesSpec,
        devices: Sequence[Device],
        encoders: Mapping[str, Encoder | DualEncoder],
        n_times: int,
    ) -> None:
        super().__init__()
        self.spec, self.devices = spec, tuple(devices)
        self.encoders = nn.ModuleDict(encoders)
        read_by = {device: encoders[device.key(shared=spec.share)] for device in self.devices}
        main = next(iter(encoders.values()))
        self.steps_are_time, self.out_dim = main.steps_are_time, main.out_dim
        self.receptive_field = max(1 + (one.receptive_field - 1) * device.every for device, one in read_by.items())
        self.least_times = max(1 + (one.least_times - 1) * device.every for device, one in read_by.items())
        self.steps_alike = len({one.n_steps(device.n_times(n_times)) for device, one in read_by.items()}) == 1
        own, self.branch_dims = same_dims(spec, [(one, d.n_times(n_times)) for d, one in read_by.items()])
        self.device_dims = {device.name: own for device in self.devices}
        self.fusion: SequentialFusion | None = None
        self.vec_dim = own[1] * len(self.devices) if spec.fusion == "concat" else own[1]
        if spec.fusion == "sequential":
            self.fusion = SequentialFusion([device.name for device in self.devices], own[1], spec.state_dim)
            self.vec_dim = spec.state_dim

    @property
    def blocks(self) -> list[nn.ModuleList]:
        """Stages, counted from the end: the last holds the last stage of each encoder and the fusion."""
        return joined_stages(self.encoders.values(), self.fusion)

    def n_steps(self, n_times: int) -> int:
        """Steps of `seq`."""
        first = self.devices[0]
        return self.encoder_of(first).n_steps(first.n_times(n_times))

    def encoder_of(self, device: Device) -> Encoder | DualEncoder:
        """The encoder that reads a device."""
        encoder = self.encoders[device.key(shared=self.spec.share)]
        assert isinstance(encoder, Encoder | DualEncoder)
        return encoder

    def forward(
        self,
        x: Tensor,
        keep: Tensor | None = None,
        *,
        only_predicting: bool = False,
        present: Tensor | None = None,
    ) -> dict[str, Trunks]:
        """Encode every device.

        Parameters
        ----------
        x : Tensor, shape (B, n_chans, n_times)
            All devices' channels; an absent device's are 0.
        keep : None
            No hidden sequence is masked.
        only_predicting : bool
            All devices predict; a branch of theirs that does not is left out.
        present : bool Tensor, shape (B, n_devices), optional
            Which devices are there: the statistics of a batch are those of what is there.

        Returns
        -------
        dict of str to dict of str to Tensor
            By device, sequences (B, L, out_dim) of its branches, before the shared dropout; an encoder that is not dual
            is its own branch ``main``.
        """
        assert keep is None
        out: dict[str, dict[str, Tensor]] = {device.name: {} for device in self.devices}
        for key, encoder in self.encoders.items():
            mine = [device for device in self.devices if device.key(shared=self.spec.share) == key]
            columns = torch.tensor([device.columns for device in mine], device=x.device)
            rows = x[:, columns, :: mine[0].every].transpose(0, 1)
            there = None if present is None else present[:, [self.devices.index(device) for device in mine]].T
            for branch, network in branches_of(encoder, only_predicting=only_predicting).items():
                for device, one in zip(mine, sequences(network, rows, there), strict=True):
                    out[device.name][branch] = one
        return dict(out)

    def latents(
        self,
        trunks: Mapping[str, Trunks],
        *,
        training: bool,
        valid: Tensor | None = None,
        present: Tensor | None = None,
    ) -> DeviceLatents:
        """One dropout draw of each device's sequence, and what they say together.

        Parameters
        ----------
        trunks : mapping of str to mapping of str to Tensor
            From `forward`.
        training : bool
        valid : bool Tensor, shape (B, n_times), optional
        present : bool Tensor, shape (B, n_devices), optional
            Which devices are there; None where all are.
        """
        own = {
            device.name: self.latents_of(device, trunks[device.name], training=training, valid=valid)
            for device in self.devices
        }

        def seq() -> Tensor:
            # Few terms read it, so it waits until one does.
            return weighted_mean(torch.stack([one.seq for one in own.values()]), present)

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
        return DeviceLatents(
            seq,
            main.pool,
            main.valid,
            main.segments,
            of_device=own,
            fuse=fuse,
            states=states if self.fusion is not None else None,
            present=present,
        )

    def latents_of(self, device: Device, trunks: Trunks, *, training: bool, valid: Tensor | None) -> Latents:
        """What one device says, from the sequences of its branches; `valid` (B, n_times) as in `latents`."""
        encoder = self.encoder_of(device)
        shown = None if valid is None else valid[:, :: device.every]
        if isinstance(encoder, DualEncoder):
            return encoder.latents(trunks, training=training, valid=shown)
        assert not isinstance(self.spec.each, DualSpec)
        shown = shown if encoder.steps_are_time else None
        return read_out_of(self.spec.each, trunks[MAIN], training=training, rectified=encoder.rectified, valid=shown)


def same_dims(spec: DevicesSpec, encoders: Sequence[tuple[Encoder | DualEncoder, int]]) -> tuple[Dims, dict[str, Dims]]:
    """Widths of a step and of the vector of every device, and of each branch of every device.

    Parameters
    ----------
    spec : DevicesSpec
    encoders : sequence of (Encoder or DualEncoder, int)
        Of each device, with the samples of its windows.

    Raises
    ------
    UsageError
        They differ.
    """
    found: list[tuple[Dims, dict[str, Dims]]] = []
    for encoder, n_times in encoders:
        if isinstance(encoder, DualEncoder):
            found.append(((encoder.out_dim, encoder.vec_dim), encoder.branch_dims))
        else:
            assert not isinstance(spec.each, DualSpec)
            own = encoder.out_dim, vec_dim(spec.each, encoder, n_times)
            found.append((own, {MAIN: own}))
    for one in found:
        if one != found[0]:
            several = sorted({width for own, branches in found for _, width in (own, *branches.values())})
            raise UsageError(
                "Devices with different channels or rates get vectors of different width "
                f"({', '.join(map(str, several))})",
                "encoder.each",
                "Choose an encoder and a pool whose width does not depend on channels or length",
            )
    return found[0]


def branches_of(encoder: nn.Module, *, only_predicting: bool) -> dict[str, nn.Module]:
    """The networks of an encoder by branch, or those alone that reach the prediction."""
    if not isinstance(encoder, DualEncoder):
        return {MAIN: encoder}
    return {name: encoder.branches[name] for name in (encoder.predicting if only_predicting else encoder.branches)}


def sequences(encoder: nn.Module, rows: Tensor, there: Tensor | None) -> list[Tensor]:
    """Sequences (B, L, D) of each device's windows (V, B, C, T), of which those that are there (V, B) are known."""
    if there is not None and normalises_batches(encoder):
        return of_present(encoder, rows, there)
    if len(rows) == 1 or (rows.device.type == "cpu" and rows.shape[2] > 1 and not normalises_batches(encoder)):
        # The same numbers; a processor is spared large tensors of all devices that it would have to take apart.
        return [encoder(one) for one in rows]
    return list(encoder(rows.flatten(0, 1)).unflatten(0, rows.shape[:2]).unbind())


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


@dataclass(frozen=True)
class DeviceLatents(Latents):
    """What devices say together.

    Attributes
    ----------
    of_device : mapping of str to Latents
        Each device's own latents, of the same dropout draw; see `devices`.
    fuse : callable
        Vectors of the devices, by name, to the one vector (B, D) that predicts.
    states : callable, optional
        The vector before the first device and after each, (V + 1, B, D), where it grows device by device; its last
        is the vector that predicts.
    present : Tensor of bool, shape (B, V), or None
        Which devices are there; None where all are.
    """

    of_device: Mapping[str, Latents] = field(default_factory=dict)
    fuse: Callable[[Mapping[str, Latents]], Tensor] | None = None
    states: Callable[[], Tensor] | None = None
    present: Tensor | None = None

    @property
    def branches(self) -> Mapping[str, Latents]:
        """A branch belongs to a device."""
        return {}

    @property
    def devices(self) -> Mapping[str, Latents]:
        """Latents by device."""
        return self.of_device

    @cached_property
    def vec(self) -> Tensor:
        """The joined vector, shape (B, D)."""
        assert self.fuse is not None
        return self.fuse(self.of_device)


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
