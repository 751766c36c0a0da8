"""Files of one recording to one signal: on a common clock by their time stamps, or side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.clock import TimedSignal, align, recover
from biocl.signals.readers.table import Table
from biocl.signals.recording import Channel, Events, Recording

EMPTIEST = 100  # time steps of the common clock for each row of a file; more, and the time unit is wrong


def table_recording(
    table: Table,
    *,
    name: str,
    patient: str,
    session: str = "1",
    labels: Mapping[str, str] | None = None,
    sfreq: float | None = None,
) -> Recording:
    """A table as a recording: evenly spaced at `sfreq`, or put on a clock by its time stamps.

    Raises
    ------
    DataError
        If there is neither a rate nor a time column, or the time stamps make no sense.
    """
    if table.time_s is not None:
        return on_one_clock([table], name=name, patient=patient, session=session, labels=labels, sfreq=sfreq)
    if sfreq is None or not math.isfinite(sfreq) or sfreq <= 0:
        raise DataError(
            f"The sampling rate of {table.source.name} is not known",
            table.source,
            "Fill the column sfreq, give --sfreq, or name the rate or the time column in a layout",
        )
    return Recording(
        name=name,
        patient=patient,
        sfreq=float(sfreq),
        n_times=table.n_times,
        channels=table.channels,
        read=table.read,
        session=session,
        labels=dict(labels or {}),
        source=str(table.source),
        notes=table.notes,
    )


def on_one_clock(
    tables: Sequence[Table],
    *,
    name: str,
    patient: str,
    session: str = "1",
    labels: Mapping[str, str] | None = None,
    sfreq: float | None = None,
) -> Recording:
    """Tables with time stamps on one clock, over the time that all of them cover.

    Parameters
    ----------
    tables : sequence of Table
        One for each device.
    name, patient, session, labels
        Of the recording.
    sfreq : float, optional
        Rate of the clock; default: the fastest device's, as the whole number it is within 2 % of, if any.

    Raises
    ------
    DataError
        If time goes backwards, the stamps span far more time than the rows fill, two devices share a name, or
        no time is covered by all.
    """
    refuse_shared_names([channel for table in tables for channel in table.channels], str(tables[0].source), name)
    signals = []
    for table in tables:
        assert table.time_s is not None
        signals.append(TimedSignal(table.device, table.time_s, table.read(0, table.n_times), table.channels))
    recovered = recover(signals, [str(table.source) for table in tables])
    fastest = max(times.rate_hz for times in recovered[1])
    clock_hz = sfreq or nearly_whole(fastest)
    for table, signal in zip(tables, signals, strict=True):
        span = float(np.ptp(signal.time_s))
        if span * clock_hz > EMPTIEST * (table.n_times + 100):
            raise DataError(
                f"The time stamps span {span:.6g} s, and {table.n_times} rows at {clock_hz:.6g} Hz fill less than a "
                "hundredth of that",
                table.source,
                "Correct the unit of time in the layout, or cut the file at its long gap",
            )
    aligned = align(signals, clock_hz, where=f"recording {name} ({tables[0].source})", recovered=recovered)
    values = aligned.values
    return Recording.from_array(
        name,
        patient,
        clock_hz,
        values,
        [channel for table in tables for channel in table.channels],
        session=session,
        labels=labels,
        source=str(tables[0].source),
        notes=(*(note for table in tables for note in table.notes), *aligned.notes),
    )


def nearly_whole(rate_hz: float) -> float:
    """A rate within 2 % of a whole number as that number (values are read on the new grid anyway)."""
    whole = round(rate_hz)
    return float(whole) if whole >= 1 and abs(rate_hz - whole) <= 0.02 * whole else rate_hz


def side_by_side(recordings: Sequence[Recording], name: str) -> Recording:
    """Synchronous recordings as one, their channels beside each other, their events together.

    Parameters
    ----------
    recordings : sequence of Recording
        Of one patient and session.
    name : str
        Of the whole.

    Raises
    ------
    DataError
        If they differ in rate or length, or two channels of one device share a name.
    """
    first = recordings[0]
    for other in recordings[1:]:
        if (other.sfreq, other.n_times) != (first.sfreq, first.n_times):
            raise DataError(
                f"The files of recording {name} are not synchronous: {first.n_times} time steps at {first.sfreq:g} Hz "
                f"in {first.where}, {other.n_times} at {other.sfreq:g} Hz here",
                other.where,
                "Name the column of time stamps in a layout (time: …), so that they are aligned, or give them the "
                "same rate and length",
            )
    channels = tuple(channel for part in recordings for channel in part.channels)
    refuse_shared_names(channels, first.where, name)

    def read(start: int, stop: int) -> NDArray[np.float32]:
        return np.concatenate([part.read(start, stop) for part in recordings], axis=1)

    return Recording(
        name=name,
        patient=first.patient,
        sfreq=first.sfreq,
        n_times=first.n_times,
        channels=channels,
        read=read,
        session=first.session,
        events=Events.join(*(part.events for part in recordings)),
        labels={key: value for part in recordings for key, value in part.labels.items()},
        source=first.source,
        notes=tuple(note for part in recordings for note in part.notes),
    )


def refuse_shared_names(channels: Sequence[Channel], where: str, name: str) -> None:
    """Two channels of one device must not share a name."""
    known = [(channel.device, channel.name) for channel in channels]
    if twice := next((pair for pair in known if known.count(pair) > 1), None):
        raise DataError(
            f"Recording {name} has two channels {twice[1]!r} of device {twice[0]!r}",
            where,
            "Give every file of a recording its own device (column device), and every channel its own name",
        )
