"""The one model: an encoder, its projectors and its heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from biocl.encoders.build import AnyEncoder, build_encoder
from biocl.encoders.devices import DeviceEncoder
from biocl.encoders.encoder import Encoder
from biocl.encoders.latents import MAIN, Latents, read_out_of, vec_dim
from biocl.encoders.spec import DevicesSpec, DualSpec, EncoderSpec
from biocl.errors import UsageError
from biocl.objectives.comparisons import Comparison, Entry, comparisons
from biocl.objectives.criterion_spec import CroSSL
from biocl.objectives.head_spec import HeadTerm
from biocl.objectives.heads import ForecastingHead, Shapes, build_heads, check_sight, fit_heads
from biocl.objectives.memories import Keys, Queue
from biocl.objectives.model_rules import check_named, check_widths, refuse_steps_of_devices, refuse_time_steps
from biocl.objectives.momentum import momentum_copy, uses_copy
from biocl.objectives.projectors import build_projector
from biocl.objectives.spec import ContrastTerm, ProjectorSpec, Term
from biocl.signals.devices import devices_of
from biocl.signals.recording import Channel
from biocl.views.view import View


class Model(nn.Module):
    """Encoder, projectors by name and heads by name.

    Parameters
    ----------
    spec : EncoderSpec
    n_chans : int
        Channels of a window.
    n_times : int, optional
        Samples of a window; every encoder but the dilated CNN, and ``pool: flatten``, need it.
    sfreq : float, optional
        Samples a second; every encoder but the dilated CNN needs it.
    channel_names : sequence of str, optional
        For encoders that know where electrodes sit.
    channels : sequence of Channel, optional
        For an encoder of each device.
    projectors : mapping of str to ProjectorSpec
    terms : sequence of terms
        A head is built for each head term.
    n_outputs, n_labels, n_aux : int
        Classes, labels of which several may hold, and auxiliary inputs of the heads.
    horizon : int
        Time steps behind a window that a head forecasts.

    Attributes
    ----------
    seq_dim, vec_dim : int
        Widths of a step of ``seq`` and of ``vec``.
    branch_dims, device_dims : dict of str to (int, int)
        The same of each branch (of every device), and of each device, for terms that contrast them (see `Latents.of`);
        no device where one encoder reads all channels.
    hidden_dim : int or None
        Width of the hidden sequence that a mask ``at: hidden`` hides, None where there is none.
    momentum : MomentumCopy or None
        What encodes the keys of terms with ``keys: momentum``; it follows the encoder.
    queues : ModuleDict
        Keys of earlier steps, by the title of their term.
    """

    FOLLOWING: ClassVar[tuple[str, ...]] = ("momentum.", "queues.")
    """How entries of the state begin that follow training, and are themselves not trained or averaged."""

    def __init__(
        self,
        spec: EncoderSpec,
        *,
        n_chans: int,
        n_times: int | None = None,
        sfreq: float | None = None,
        channel_names: Sequence[str] | None = None,
        channels: Sequence[Channel] | None = None,
        projectors: Mapping[str, ProjectorSpec] | None = None,
        terms: Sequence[Term] | None = None,
        n_outputs: int = 0,
        n_labels: int = 0,
        n_aux: int = 0,
        horizon: int = 0,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.encoder: AnyEncoder = build_encoder(
            spec, n_chans=n_chans, n_times=n_times, sfreq=sfreq, channel_names=channel_names, channels=channels
        )
        self.hidden_dim, self.seq_dim = self.encoder.hidden_dim, self.encoder.out_dim
        if not isinstance(self.encoder, Encoder):
            self.vec_dim, self.branch_dims = self.encoder.vec_dim, self.encoder.branch_dims
        else:
            assert not isinstance(spec, DualSpec | DevicesSpec)
            self.vec_dim = vec_dim(spec, self.encoder, n_times)
            self.branch_dims = {MAIN: (self.seq_dim, self.vec_dim)}
            if self.encoder.parts:
                widths = {name: part.stop - part.start for name, part in self.encoder.parts.items()}
                self.branch_dims = {name: (w, self.vec_dim * w // self.seq_dim) for name, w in widths.items()}
        self.device_dims = self.encoder.device_dims if isinstance(self.encoder, DeviceEncoder) else {}
        # Which device each channel is of, where the encoder reads channels rather than devices.
        self.device_of_channel: list[int] | None = None
        self.channel_dim: int | None = None
        if isinstance(spec, DevicesSpec) and spec.of == "channel":
            number = {device.name: i for i, device in enumerate(devices_of(channels or ()))}
            self.device_of_channel = [number[channel.device] for channel in channels or ()]
            self.channel_dim = next(iter(self.device_dims.values()))[1]
            self.device_dims = {}
        if isinstance(self.encoder, DeviceEncoder) and not self.encoder.steps_alike:
            refuse_steps_of_devices(terms or ())
        if not self.encoder.steps_are_time or (n_times is not None and self.encoder.n_steps(n_times) < 2):
            refuse_time_steps(terms or ())
        for term in terms or ():
            if isinstance(term, ContrastTerm):
                check_named(self, term)
                check_widths(self, term, projectors or {})
        self.projectors = nn.ModuleDict(
            {
                name: build_projector(p, in_dim=self.projected_dim(name, terms or ()))
                for name, p in (projectors or {}).items()
            }
        )
        self.heads = build_heads(
            [term for term in terms or () if isinstance(term, HeadTerm)],
            Shapes(
                n_chans=n_chans,
                n_times=n_times or 0,
                horizon=horizon,
                n_steps=self.encoder.n_steps(n_times) if n_times is not None else 0,
                seq_dim=self.seq_dim,
                vec_dim=self.vec_dim,
                steps_are_time=self.encoder.steps_are_time,
                channel_dim=self.channel_dim,
                n_outputs=n_outputs,
                n_labels=n_labels,
                n_aux=n_aux,
            ),
        )

        self.momentum = momentum_copy(self.encoder, self.projectors, terms or ())  # type: ignore[arg-type]
        widths = {term.title: self.key_dim(term, projectors or {}) for term in uses_copy(terms or ())}
        self.queues = nn.ModuleDict(
            {
                term.title: Queue(term.queue.size, widths[term.title])
                for term in uses_copy(terms or ())
                if term.queue is not None
            }
        )
        self.check_forecasts(n_chans, n_times)

    def check_forecasts(self, n_chans: int, n_times: int | None) -> None:
        """Refuse forecasts that begin without a look at the window's last sample."""
        forecasts = [head for head in self.heads.values() if isinstance(head, ForecastingHead)]
        if forecasts and n_times is not None:
            self.eval()
            for head in forecasts:
                check_sight(self.read, head, n_chans, n_times)
            self.train()

    def there(self, present: torch.Tensor | None) -> torch.Tensor | None:
        """What is there of all that the encoder reads apart: devices (B, n_devices), or their channels."""
        return present if present is None or self.device_of_channel is None else present[:, self.device_of_channel]

    def key_dim(self, term: ContrastTerm, projectors: Mapping[str, ProjectorSpec]) -> int:
        """Width of the keys of a term with a momentum copy.

        Raises
        ------
        UsageError
            It makes several comparisons, and has keys for one.
        """
        compared = self.comparisons(term)
        if len(compared) > 1:
            raise UsageError(
                f"The term {term.title} makes {len(compared)} comparisons, and has keys for one",
                "terms",
                "Name one branch and one device, each in a term of its own",
            )
        entry = compared[0][0][0]
        if name := term.projector_of(entry.branch, entry.device):
            return projectors[name].out_dim
        return self.dims_of(entry)[0 if term.read == "step" else 1]

    def projected_dim(self, name: str, terms: Sequence[Term]) -> int:
        """Width of what a projector reads: steps of the sequence, or the pooled vector of all, a branch or a device."""
        widths = set()
        for term in terms:
            if isinstance(term, HeadTerm):
                continue
            if term.joins and term.project == name:
                widths.add(self.joined_dim(term))
            for entry in {entry for sides in self.comparisons(term) for side in sides for entry in side}:
                if term.projector_of(entry.branch, entry.device) == name:
                    steps, vector = self.dims_of(entry)
                    widths.add(vector if term.read == "vec" else steps)
        if len(widths) > 1:
            raise UsageError(
                f"What the projector {name!r} reads differs in width ({' and '.join(map(str, sorted(widths)))})",
                "projectors",
                "Use one projector for each: of vec and of seq, or of each branch (project: {BRANCH: NAME})",
            )
        return widths.pop() if widths else self.vec_dim

    def comparisons(self, term: ContrastTerm) -> list[Comparison]:
        """What a term lays side by side of this encoder's branches and devices."""
        return comparisons(term, list(self.branch_dims), list(self.device_dims))

    def joined_dim(self, term: ContrastTerm) -> int:
        """Width of what the devices of a term say together, side by side or on average."""
        assert isinstance(term.criterion, CroSSL)
        widths = [self.dims_of(side[0])[1] for side in self.comparisons(term)[0]]
        return sum(widths) if term.criterion.join == "concatenate" else widths[0]

    def dims_of(self, entry: Entry) -> tuple[int, int]:
        """Widths of a step and of the vector of an entry of the table of latents."""
        if entry.branch is not None:
            return self.branch_dims[entry.branch]
        return (self.seq_dim, self.vec_dim) if entry.device is None else self.device_dims[entry.device]

    def projector_of(
        self, term: ContrastTerm, among: nn.ModuleDict | None = None
    ) -> nn.Module | dict[str, nn.Module] | None:
        """The projector of a term, or those of its branches; of others by the same names where they are given."""
        known = self.projectors if among is None else among
        if isinstance(term.project, dict):
            return {branch: known[name] for branch, name in term.project.items()}
        return known[term.project] if term.project else None

    def start_following(self) -> None:
        """Make the momentum copy what is trained: before the first step, when weights were loaded perhaps."""
        if self.momentum is not None:
            self.momentum.start(self)

    def follow(self, keys: Sequence[Mapping[str, Keys]]) -> None:
        """After a step of the optimiser: the momentum copy follows, and queues take the keys of its micro-batches."""
        for one in keys:
            for title, new in one.items():
                queue = self.queues[title]
                assert isinstance(queue, Queue)
                queue.push(new)
        if self.momentum is not None:
            self.momentum.follow(self)

    def fit_heads(
        self,
        *,
        aux: torch.Tensor | None = None,
        target: torch.Tensor | None = None,
        trace: torch.Tensor | None = None,
    ) -> None:
        """Take from the training windows what heads scale by: see `biocl.objectives.heads.fit_heads`."""
        fit_heads(self.heads, aux=aux, target=target, trace=trace)

    def train(self, mode: bool = True) -> Model:
        """Training or evaluation mode; batch norms of the encoder that are frozen keep their statistics."""
        super().train(mode)
        for module in self.encoder.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and not trains(module):
                module.eval()
        return self

    def trunk(self, view: View, encoder: AnyEncoder | None = None) -> torch.Tensor | Mapping[str, Any]:
        """The encoder's sequence (B, L, D) of a view before dropout, or those of its branches and devices by name.

        `encoder` is the momentum copy's where that is asked.
        """
        encoder = self.encoder if encoder is None else encoder
        if isinstance(encoder, Encoder):
            return encoder(view.x, view.keep)
        return encoder(view.x, view.keep, present=self.there(view.present))

    def latents(
        self, trunk: torch.Tensor | Mapping[str, Any], view: View, encoder: AnyEncoder | None = None
    ) -> Latents:
        """One dropout draw of a trunk; its `branches` are the latents of each branch, of the same draw."""
        encoder = self.encoder if encoder is None else encoder
        if not isinstance(encoder, Encoder):
            assert not isinstance(trunk, torch.Tensor)
            return encoder.latents(trunk, training=self.training, valid=view.valid, present=self.there(view.present))
        assert isinstance(trunk, torch.Tensor)
        assert not isinstance(self.spec, DualSpec | DevicesSpec)
        return read_out_of(
            self.spec,
            trunk,
            training=self.training,
            rectified=encoder.rectified,
            valid=view.valid if encoder.steps_are_time else None,
            parts=encoder.parts,
        )

    def forward(
        self, x: torch.Tensor, valid: torch.Tensor | None = None, present: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Embed windows: x (B, n_chans, n_times) to vec (B, D), as for evaluation; `present` is (B, n_devices).

        A branch that does not reach the prediction is not computed.
        """
        return self.read(x, valid, present).vec

    def read(self, x: torch.Tensor, valid: torch.Tensor | None = None, present: torch.Tensor | None = None) -> Latents:
        """What the encoder says of windows (B, n_chans, n_times) as they are, for heads that predict."""
        view = View(x, valid=valid, present=present)
        if not isinstance(self.encoder, Encoder):
            return self.latents(self.encoder(x, only_predicting=True, present=self.there(present)), view)
        return self.latents(self.trunk(view), view)


def trains(module: nn.Module) -> bool:
    """Whether a module has a parameter of its own that is not frozen, or none at all."""
    parameters = list(module.parameters(recurse=False))
    return not parameters or any(parameter.requires_grad for parameter in parameters)
