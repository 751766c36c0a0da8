"""Bring your own folder: files named by a CSV with columns path, patient, trial, label, start, end.

::

    path,patient,trial,label,start,end
    a/rec1.hea,P01,1,rest,0,30            several rows of one file: several trials
    a/rec1.hea,P01,2,stress,30,60         start and end in seconds; empty: the whole file
    b/walk.edf,P02,1,rest,,               any format of `biocl data formats`
    b/run.csv.gz,P02,1,stress,,           a table of numbers; needs a sampling rate or a layout with time stamps

`path` counts from the CSV's own folder. Optional columns: `session`; `sfreq`, samples per second of a table (of the
clock that its rows are put on, if it has time stamps); `layout`, a YAML file that says how to read a table
(`biocl.signals.readers.layout`); `recording`, equal for the files of several devices that ran together, and
`device`, which of them; `label:age`, `label:sex` … for what is known of a whole recording. Each recording's rows are
its events ``trial``, in seconds from the first moment that all its devices cover.

A folder whose paths say it all needs no CSV but a template of them, ``sub-{patient}/{trial}_{label}.edf``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.folder_files import rows_from_files
from biocl.datasets.folder_plan import Part, Plan, plan_recordings
from biocl.datasets.folder_table import read_rows
from biocl.errors import DataError
from biocl.signals.readers.devices import on_one_clock, refuse_shared_names, side_by_side
from biocl.signals.readers.formats import open_recording, open_table, renamed
from biocl.signals.readers.layout import TableLayout
from biocl.signals.recording import Events, Recording


@dataclass(frozen=True)
class FolderCohort:
    """The two functions of a data set of the user's own files; picklable."""

    plans: dict[str, Plan]
    modality: str = "other"

    def entries(self, raw: Path | None = None) -> list[Entry]:
        """The recordings as listed; the list says where the files are, so there is no raw folder."""
        return [
            Entry(
                name=plan.name,
                patient=plan.patient,
                session=plan.session,
                source=str(plan.parts[0].path),
                labels=dict(plan.labels),
                revision=plan.revision,
            )
            for plan in self.plans.values()
        ]

    def read(self, entry: Entry) -> Recording:
        """One recording, with its rows as events ``trial`` beside those that the files hold.

        Raises
        ------
        DataError
            If a file is refused by its reader, the files do not fit together, or a trial lies outside them.
        """
        plan = self.plans[entry.name]
        recording = joined(plan)
        trials = trial_events(plan, recording)
        return replace(
            recording,
            events=Events.join(recording.events, trials) if len(recording.events) else trials,
            labels={**recording.labels, **entry.labels},
            notes=(*recording.notes, *unlike(recording, self.modality)),
        )


def folder_dataset(
    table: str | Path, *, sfreq: float | None = None, modality: str = "other", layout: TableLayout | None = None
) -> Dataset:
    """A data set of the user's own files, listed in a CSV.

    Parameters
    ----------
    table : str or Path
        The CSV described above.
    sfreq : float, optional
        Samples per second of tables without time stamps that have no rate of their own.
    modality : str
        ``ecg``, ``eeg``, ``imu`` or ``other``.
    layout : TableLayout, optional
        Of tables that have none of their own.

    Raises
    ------
    DataError
        If a file is missing, a recording has two patients, a column is missing or a time makes no sense; the
        message names the lines.
    UsageError
        If a layout is wrong.
    """
    table = Path(table)
    return dataset_of(plan_recordings(read_rows(table), table.parent, sfreq=sfreq, layout=layout), table.stem, modality)


def files_dataset(
    folder: str | Path,
    template: str,
    *,
    sfreq: float | None = None,
    modality: str = "other",
    layout: TableLayout | None = None,
) -> tuple[Dataset, list[Path]]:
    """A data set of the files whose paths fit a template, and the readable files that do not fit.

    Parameters
    ----------
    folder : str or Path
    template : str
        See `biocl.datasets.folder_files.rows_from_files`.
    sfreq, modality, layout
        As in `folder_dataset`.
    """
    folder = Path(folder)
    rows, left_out = rows_from_files(folder, template)
    plans = plan_recordings(rows, folder, sfreq=sfreq, layout=layout)
    return dataset_of(plans, folder.resolve().name, modality), left_out


def dataset_of(plans: Sequence[Plan], name: str, modality: str) -> Dataset:
    """Plans as a data set with windows of two seconds by default; gaps that time stamps tell of are kept as gaps."""
    timed = any(part.layout is not None and part.layout.time is not None for plan in plans for part in plan.parts)
    cohort = FolderCohort({plan.name: plan for plan in plans}, modality)
    return Dataset(
        name=name,
        modality=modality,
        version="1",
        entries=cohort.entries,
        read=cohort.read,
        classes=tuple(sorted({label for plan in plans for _, label, _, _ in plan.trials} - {""})),
        defaults={
            "windows": {"kind": "sliding", "length_s": 2.0, "step_s": 2.0},
            "trials": {"kind": "event", "events": "trial"},
            **({"nan": "keep"} if timed else {}),
        },
    )


def unlike(recording: Recording, modality: str) -> tuple[str, ...]:
    """A note if no channel is what the user calls the recordings, so that none of its values can be judged."""
    kinds = {"eeg": {"eeg"}, "ecg": {"ecg"}, "imu": {"acc", "gyr", "mag"}}.get(modality, set())
    if not kinds or kinds & {channel.kind for channel in recording.channels}:
        return ()
    first = recording.channels[0]
    return (
        f"No channel is {modality.upper()} by its name and unit (the first is {first.name!r}, in {first.unit!r}): "
        "units and ranges are not checked",
    )


def joined(plan: Plan) -> Recording:
    """The files of a plan as one recording: on one clock by their time stamps, or side by side."""
    timed = [part for part in plan.parts if part.layout is not None and part.layout.time is not None]
    if 0 < len(timed) < len(plan.parts):
        without = next(part for part in plan.parts if part not in timed)
        raise DataError(
            f"Recording {plan.name} has files with time stamps and files without",
            without.path,
            "Name the column of time stamps for all of them (layout: time), or for none",
        )
    if len(timed) > 1:
        rates = [part.sfreq for part in timed if part.sfreq is not None]
        tables = [open_table(part.path, part.layout or TableLayout(), part.device or None) for part in timed]
        return on_one_clock(
            tables, name=plan.name, patient=plan.patient, session=plan.session, sfreq=max(rates, default=None)
        )
    opened = [open_part(part, plan) for part in plan.parts]
    if len(opened) == 1:
        refuse_shared_names(opened[0].channels, opened[0].where, plan.name)
        return opened[0]
    return side_by_side(opened, plan.name)


def open_part(part: Part, plan: Plan) -> Recording:
    """One file as a recording on its own."""
    layout = part.layout
    if layout is not None and part.device:
        layout = layout.model_copy(update={"device": part.device})
    recording = open_recording(
        part.path,
        name=plan.name,
        patient=plan.patient,
        session=plan.session,
        sfreq=part.sfreq,
        layout=layout,
    )
    return renamed(recording, part.device) if part.device and layout is None else recording


def trial_events(plan: Plan, recording: Recording) -> Events:
    """The rows of a recording as events ``trial``."""
    length = recording.duration_s
    spans = []
    for name, label, start, end in plan.trials:
        first, last = start or 0.0, length if end is None else end
        if first >= length or last > length + 0.5 / recording.sfreq:
            trial = f"Trial {name or label!r}" if name or label else "A trial"
            raise DataError(
                f"{trial} lasts from {first:g} to {last:g} s, the file only {length:g} s",
                recording.where,
                "Correct start and end in the table",
            )
        spans.append((first, min(last, length) - first, label))
    onset, duration, labels = zip(*spans, strict=True)
    return Events.of("trial", onset, duration, labels)
