"""Which channels of a recording are whose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from biocl.signals.recording import Channel


@dataclass(frozen=True)
class Device:
    """A device's name, its columns of a window, and the kinds of its channels, by which devices are equal."""

    name: str
    columns: tuple[int, ...]
    kinds: tuple[str, ...]

    def key(self, *, shared: bool) -> str:
        """Name of the encoder's weights: of the kinds of channels where equal devices share them, else its own."""
        words = [f"{kind}{self.kinds.count(kind)}" for kind in dict.fromkeys(self.kinds)] if shared else [self.name]
        return "_".join(words).replace(".", "-")


def devices_of(channels: Sequence[Channel]) -> tuple[Device, ...]:
    """The devices of a window's channels, in the order in which they are met.

    Two units of the same make have the same kinds in the same order, whatever their channels are called.
    """
    names = dict.fromkeys(channel.device for channel in channels)
    found = []
    for name in names:
        columns = tuple(i for i, channel in enumerate(channels) if channel.device == name)
        found.append(Device(name, columns, tuple(channels[i].kind for i in columns)))
    return tuple(found)
