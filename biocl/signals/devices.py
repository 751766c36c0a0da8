"""Which channels of a recording are whose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from biocl.signals.recording import Channel


@dataclass(frozen=True)
class Device:
    """A device's name, its columns of a window, and the kinds of its channels, by which devices are equal.

    One that was recorded more slowly than the window's clock has as many samples as every `every`-th step.
    """

    name: str
    columns: tuple[int, ...]
    kinds: tuple[str, ...]
    every: int = 1

    def key(self, *, shared: bool) -> str:
        """Name of the encoder's weights: of the kinds of channels where equal devices share them, else its own.

        Devices of different rate are not equal.
        """
        words = [f"{kind}{self.kinds.count(kind)}" for kind in dict.fromkeys(self.kinds)] if shared else [self.name]
        words += [f"every{self.every}"] if self.every > 1 else []
        return "_".join(words).replace(".", "-")

    def n_times(self, of_window: int) -> int:
        """Its samples in a window of so many steps."""
        return -(-of_window // self.every)


def devices_of(channels: Sequence[Channel], every: Mapping[str, int] | None = None) -> tuple[Device, ...]:
    """The devices of a window's channels, in the order in which they are met.

    Two units of the same make have the same kinds in the same order, whatever their channels are called. `every` says
    which of them have a sample at every so-manieth step alone.
    """
    names = dict.fromkeys(channel.device for channel in channels)
    found = []
    for name in names:
        columns = tuple(i for i, channel in enumerate(channels) if channel.device == name)
        found.append(Device(name, columns, tuple(channels[i].kind for i in columns), (every or {}).get(name, 1)))
    return tuple(found)


def each_channel(channels: Sequence[Channel], *, alike: bool) -> tuple[Device, ...]:
    """Every channel as a device of its own, under its name, with its device's before it where two are called alike.

    Channels that are `alike` count as one kind, so that one encoder reads them all.
    """
    names = [channel.name for channel in channels]
    return tuple(
        Device(
            channel.name if names.count(channel.name) == 1 else f"{channel.device} {channel.name}",
            (i,),
            ("channel" if alike else channel.kind,),
        )
        for i, channel in enumerate(channels)
    )
