"""Several studies side by side: their rows, and differences that are paired over the same patients."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from biocl.commands.run_files import RowKey, RunFiles, own_scores_of, read_run, row_key, windows_of_patients
from biocl.errors import UsageError
from biocl.evaluation.intervals import paired_difference, pooled_difference
from biocl.evaluation.protocol import FLOOR_MODE
from biocl.evaluation.several_labels import resample_labels
from biocl.evaluation.tables import markdown, number, with_interval
from biocl.reports.scores import MEASURES, estimate

MOST_NAMED = 8


def compare(paths: Sequence[Path]) -> dict[str, Any]:
    """Compare studies of the same patients.

    Parameters
    ----------
    paths : sequence of Path
        Run folders of `biocl evaluate`, two or more; the others are held against the first.

    Returns
    -------
    dict
        See `compare_runs`.

    Raises
    ------
    UsageError
        Fewer than two, or runs that cannot be paired.
    """
    if len(paths) < 2:
        raise UsageError("One run has nothing to be compared with", "RUN", "Name two run folders or more")
    return compare_runs([read_run(path) for path in paths])


def compare_runs(runs: Sequence[RunFiles]) -> dict[str, Any]:
    """Rows of all runs, and what the later runs differ by from the first.

    Returns
    -------
    dict
        ``runs`` (names), ``protocols``, ``judged``, ``metric`` (whose difference is shown), ``n_patients``, ``notes``;
        ``rows``: what is in any run, with the estimate of each; ``differences``: of the rows that two runs share.

    Raises
    ------
    UsageError
        Runs that cannot be paired: of other kinds, data sets, patients or windows.
    """
    names = run_names(runs)
    check_kinds(runs, names)
    check_patients(runs, names)
    judged = runs[0].judged
    measure = MEASURES[judged]
    keyed = [{row_key(row): row for row in run.rows} if judged != "forecasting" else span_rows(run) for run in runs]
    sizes = list(dict.fromkeys(key[2] for rows in keyed for key in rows))
    keys = sorted(dict.fromkeys(key for rows in keyed for key in rows), key=lambda key: sizes.index(key[2]))
    return {
        "runs": names,
        "protocols": [run.results["protocol"] if run.results else "" for run in runs],
        "judged": judged,
        "measure": measure.words,
        "n_patients": len(runs[0].patients(part_of(runs[0]))),
        "notes": notes_on(runs, names),
        "rows": [
            {
                **described(key, next(rows[key] for rows in keyed if key in rows)),
                "estimates": [listed(estimate(rows[key], measure) if key in rows else None) for rows in keyed],
            }
            for key in keys
        ],
        **differences_of(runs, names, keyed),
    }


def listed(found: tuple[float, float, float] | None) -> dict[str, float | None] | None:
    """An estimate for JSON."""
    if found is None:
        return None
    value, low, high = (None if np.isnan(one) else one for one in found)
    return {"value": value, "low": low, "high": high}


def span_rows(run: RunFiles) -> dict[RowKey, dict[str, Any]]:
    """Rows of a study of forecasts that were run, by span, mode and arm."""
    rows = [row for row in run.rows if "not_run" not in row]
    return {("all", row["span"], "all", row["mode"], row["arm"]): row for row in rows}


def described(key: RowKey, row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row of any kind is about."""
    devices, task, labels, mode, arm = key
    return {"devices": devices, "task": task, "labels": labels, "mode": mode, "arm": arm, "title": row["title"]}


def run_names(runs: Sequence[RunFiles]) -> list[str]:
    """Names of the folders, with that above where two are the same, else with a number."""
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        names = [f"{run.path.resolve().parent.name}/{run.name}" for run in runs]
    return names if len(set(names)) == len(names) else [f"{name} ({i + 1})" for i, name in enumerate(names)]


def part_of(run: RunFiles) -> str:
    """Who is judged."""
    return run.experiment.evaluate.part


def dataset_of(run: RunFiles) -> str:
    """The data set as the protocol names it first."""
    return str((run.results or {}).get("protocol", "")).partition(",")[0]


def check_kinds(runs: Sequence[RunFiles], names: Sequence[str]) -> None:
    """All are finished studies of the same kind.

    Raises
    ------
    UsageError
    """
    for run, name in zip(runs, names, strict=True):
        if run.kind != "evaluate":
            raise UsageError(f"{name} is a {run.kind} run, not a study", run.path, "Run `biocl evaluate`")
        if run.results is None:
            raise UsageError(f"{name} was not finished, so it has no results", run.path, "Continue it with --resume")
    for run, name in zip(runs[1:], names[1:], strict=True):
        for what, here, there in (
            ("judges", runs[0].judged, run.judged),
            ("is about", f"the data set {dataset_of(runs[0])}", f"the data set {dataset_of(run)}"),
            ("judges the part", part_of(runs[0]), part_of(run)),
        ):
            if here != there:
                raise UsageError(
                    f"{names[0]} {what} {here}, and {name} {what} {there}, so nothing can be paired",
                    run.path,
                    "Compare studies of the same recordings and patients",
                )


def check_patients(runs: Sequence[RunFiles], names: Sequence[str]) -> None:
    """All judge the same patients, on as many windows of each.

    Raises
    ------
    UsageError
        Naming those who are in one run only.
    """
    first = runs[0]
    mine, own = set(first.patients(part_of(first))), windows_of_patients(first)
    for run, name in zip(runs[1:], names[1:], strict=True):
        theirs = set(run.patients(part_of(run)))
        only = [(names[0], sorted(mine - theirs)), (name, sorted(theirs - mine))]
        said = [
            f"only {who} judges {', '.join(people[:MOST_NAMED])}{' …' if len(people) > MOST_NAMED else ''}"
            for who, people in only
            if people
        ]
        if said:
            raise UsageError(
                f"{names[0]} and {name} judge different patients ({'; '.join(said)}), so nothing can be paired",
                run.path,
                "Run both with the same split (the first run's split_file.json serves as split: {file: …})",
            )
        other = windows_of_patients(run)
        differ = sorted(who for who in {*own, *other} if own.get(who) != other.get(who))
        same_task = bool(set(map(row_task, first.rows)) & set(map(row_task, run.rows)))
        if differ and same_task and first.judged != "forecasting":
            who = differ[0]
            raise UsageError(
                f"{names[0]} and {name} judge other windows of {len(differ)} patients (of {who}: {own.get(who, 0)} and "
                f"{other.get(who, 0)}), so nothing can be paired",
                run.path,
                "Run both with the same data.windows, data.classes and data.quality",
            )


def row_task(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Classes and devices of a row."""
    return tuple(row.get("classes", ())), tuple(row.get("devices", ()))


def notes_on(runs: Sequence[RunFiles], names: Sequence[str]) -> list[str]:
    """What differs between the runs though they can be paired, and what each is marked with."""
    notes = []
    for run, name in zip(runs, names, strict=True):
        assert run.results is not None
        notes += [f"{name} is marked: {mark}" for mark in run.results["marks"]]
    counts = [{row.get("n_draws", 1) for row in run.rows if row.get("labels") != "all"} for run in runs]
    if any(one != counts[0] for one in counts):
        said = ", ".join(f"{name} of {max(one, default=1)}" for name, one in zip(names, counts, strict=True))
        notes.append(f"rows are means over draws of labels: {said}")
    first = labelled(runs[0])
    for run, name in zip(runs[1:], names[1:], strict=True):
        other = labelled(run)
        differ = sorted({key[0] for key in first.keys() & other.keys() if first[key] != other[key]})
        if differ:
            notes.append(f"{name} was labelled on other patients than {names[0]} ({', '.join(differ)})")
        if trained_on(run) != trained_on(runs[0]):
            notes.append(f"{name} has other training patients than {names[0]}")
    if runs[0].rows and any(row.get("unit") == "trials" for run in runs for row in run.rows):
        notes.append("intervals of single runs are over trials; differences here are over patients")
    return notes


def trained_on(run: RunFiles) -> list[list[str]]:
    """Training patients of each fold."""
    return [sorted(fold["patients"].get("train", ())) for fold in run.splits]


def labelled(run: RunFiles) -> dict[tuple[Any, ...], Any]:
    """Which patients each draw labelled."""
    assert run.results is not None
    return {
        (draw["labels"], draw["draw"], draw["fold"]): sorted(draw["patients"]) for draw in run.results.get("draws", ())
    }


def differences_of(
    runs: Sequence[RunFiles], names: Sequence[str], keyed: Sequence[Mapping[RowKey, Mapping[str, Any]]]
) -> dict[str, Any]:
    """Each later run minus the first, in every row of learned arms that both have."""
    judged = runs[0].judged
    shared = [
        [key for key in rows if key in keyed[0] and key[3] != FLOOR_MODE] if place else []
        for place, rows in enumerate(keyed)
    ]
    found: list[dict[str, Any]] = []
    if judged == "forecasting":
        return {"metric": None, "differences": []}
    if judged == "multi-label":
        pooled = [resampled_labels(run) for run in runs]
        for place, keys in enumerate(shared):
            for key in keys:
                if key in pooled[place] and key in pooled[0]:
                    one = pooled_difference(pooled[place][key], pooled[0][key])["macro_auroc"]
                    found.append(difference(key, keyed[0][key], names[place], names[0], one.to_json()))
        return {"metric": "macro AUROC over windows", "differences": found}
    metric = "mae" if judged == "regression" else str(runs[0].rows[0].get("own_metric", "macro_f1"))
    scores = [own_scores_of(run).get(metric, {}) for run in runs]
    n_draws = runs[0].experiment.evaluate.bootstrap_draws
    for place, keys in enumerate(shared):
        for key in keys:
            if key in scores[place] and key in scores[0]:
                one = paired_difference(scores[place][key], scores[0][key], n_draws=n_draws)
                found.append(difference(key, keyed[0][key], names[place], names[0], one.to_json()))
    words = {"mae": "mean absolute error", "macro_f1": "macro-F1", "accuracy": "accuracy"}[metric]
    return {"metric": f"{words}, mean over patients", "differences": found}


def difference(
    key: RowKey, row: Mapping[str, Any], first: str, second: str, found: Mapping[str, Any]
) -> dict[str, Any]:
    """One paired difference of a row."""
    return {**described(key, row), "first": first, "second": second, **found}


def resampled_labels(run: RunFiles) -> dict[RowKey, Any]:
    """Areas of several labels under resampled patients, of every row, from ``predictions.csv``."""
    named = [row for row in run.rows if row["mode"] != FLOOR_MODE]
    if not named:
        return {}
    labels = named[0]["classes"]
    draws: dict[RowKey, dict[tuple[str, str], list[tuple[str, list[float], list[float]]]]] = {}
    for line in run.predictions():
        if line["mode"] == FLOOR_MODE:
            continue
        key = (line["devices"], " ".join(labels), line["labels"], line["mode"], line["arm"])
        own = [float(line[name]) for name in labels], [float(line[f"{name} predicted"]) for name in labels]
        draws.setdefault(key, {}).setdefault((line["draw"], ""), []).append((line["patient"], *own))
    found = {}
    for key, of_row in draws.items():
        whole = list(of_row.values())
        y = np.array([truth for _, truth, _ in whole[0]]).astype(np.int8)
        patient = np.array([who for who, _, _ in whole[0]])
        said = np.stack([np.array([one for _, _, one in rows]) for rows in whole])
        found[key] = resample_labels(y, said, patient, n_draws=run.experiment.evaluate.bootstrap_draws)
    return found


def format_comparison(found: Mapping[str, Any]) -> str:
    """Tables as text that is also Markdown."""
    names = found["runs"]
    several = {key: len({row[key] for row in found["rows"]}) > 1 for key in ("devices", "task")}
    extra = [key for key, many in several.items() if many]
    blocks = [f"{name}: {protocol}" for name, protocol in zip(names, found["protocols"], strict=True)]
    blocks += [f"NOTE: {note}" for note in found["notes"]]
    rows = [
        [
            *(row[key] for key in extra),
            *(row["labels"], row["mode"], row["title"]),
            *map(shown_estimate, row["estimates"]),
        ]
        for row in found["rows"]
    ]
    blocks += [f"{found['measure']}, side by side", markdown([*extra, "labels", "mode", "what", *names], rows)]
    if not found["differences"]:
        why = (
            "one series has no patients to pair, so the errors stand side by side alone"
            if found["judged"] == "forecasting"
            else "the runs share no row of a learned arm (devices, task, labels, mode and name) to pair"
        )
        return "\n\n".join([*blocks, f"note: {why}"])
    people = [one for one in found["differences"] if one["n_better"] is not None]
    header = [*extra, "labels", "mode", "what", "first", "second", found["metric"]]
    header += ["higher for the first", "p (sign flip)"] if people else []
    lines = [
        [
            *(one[key] for key in extra),
            *(one["labels"], one["mode"], one["title"], one["first"], one["second"]),
            with_interval({**one, "value": one["mean"]}),
            *([f"{one['n_better']} of {one['n_patients']} patients", number(one["p"])] if people else []),
        ]
        for one in found["differences"]
    ]
    n = found["n_patients"]
    said = f"differences (first minus second), paired over the same {n} patient{'s' * (n != 1)}"
    return "\n\n".join([*blocks, said, markdown(header, lines)])


def shown_estimate(found: Mapping[str, Any] | None) -> str:
    """A value with its interval where there is one; a dash where a run lacks the row."""
    if found is None:
        return "–"
    return number(found["value"]) if found["low"] is None else with_interval(found)


def print_comparison(found: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the comparison."""
    print(json.dumps(found, indent=2) if as_json else format_comparison(found))
