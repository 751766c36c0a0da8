"""The tables of a study as text that is also Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from biocl.evaluation.tables import markdown, number, with_interval

Lines = Sequence[Mapping[str, Any]]


def of_classes(rows: Lines, pairs: Lines) -> list[str]:
    """The header, the table and the differences of a task of classes."""
    return [header_of(rows[0]), *table_of(rows, pairs)]


def format_results(results: Mapping[str, Any], of_task: Callable[[Lines, Lines], list[str]] = of_classes) -> str:
    """The tables as text: one per subset of devices and task, each with its differences, as `of_task` writes them."""
    blocks = [f"protocol: {results['protocol']}"]
    blocks += [f"MARKED: {mark}" for mark in results["marks"]]
    blocks += sorted(
        {f"note: {draw['mark']} ({' '.join(draw['classes'])})" for draw in results["draws"] if draw["mark"]}
    )
    named = list(dict.fromkeys(tuple(row["devices"]) for row in results["rows"]))
    for key in dict.fromkeys((tuple(row["devices"]), tuple(row["classes"])) for row in results["rows"]):
        rows, pairs = (
            [line for line in results[lines] if (tuple(line["devices"]), tuple(line["classes"])) == key]
            for lines in ("rows", "differences")
        )
        on = "" if named == [("all",)] else f"devices {' + '.join(rows[0]['devices'])}, "
        header, *tables = of_task(rows, pairs)
        blocks += [on + header, *tables]
    blocks += missing_of(results.get("missing", ()), results.get("part", "test"))
    blocks += agreement_of(results.get("agreement", ()), results.get("part", "test"))
    return "\n\n".join(blocks)


def missing_of(rows: Sequence[Mapping[str, Any]], part: str) -> list[str]:
    """How many windows lack a device that was taken away, and of which classes; nothing where none was."""
    if not rows:
        return []

    def lacking(one: Mapping[str, Any]) -> str:
        only = f", those of {' '.join(one['classes'])} alone" if one["classes"] else ""
        return f"{one['share']:.0%}{only}"

    return [
        "windows from which a device was taken away (data.missing)",
        markdown(
            ["what", "device", "training", part],
            [[row["arm"], row["device"], lacking(row["train"]), lacking(row[part])] for row in rows],
        ),
    ]


def agreement_of(rows: Sequence[Mapping[str, Any]], part: str = "test") -> list[str]:
    """What two devices say of a judged window, next to what they say of different ones; nothing if none was asked."""
    if not rows:
        return []
    return [
        f"cosine of what two devices say of one {part} window, and of different windows of the same patient",
        markdown(
            ["encoder", "same moment", "other moments", "difference"],
            [
                [row["arm"], number(row["aligned"]), number(row["shuffled"]), number(row["aligned"] - row["shuffled"])]
                for row in rows
            ],
        ),
    ]


def table_of(rows: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    """One table and that of its differences, sorted by the number of labels as the rows name it first."""
    sizes = list(dict.fromkeys(row["labels"] for row in rows))
    unit = rows[0]["unit"]
    own = f"{rows[0]['own_metric'].replace('_f1', '-F1')}, mean over {unit}"
    levels = list(rows[0]["patient_level"])
    few = ["each patient (median)"] if "patients" in rows[0] else []
    areas = ("accuracy", "auroc", "auprc")
    table = markdown(
        [
            *("labels", "mode", "what", "macro-F1", "accuracy", "AUROC", "AUPRC", own),
            *few,
            *(f"{unit}' macro-F1 ({how})" for how in levels),
        ],
        [
            [
                *(row["labels"], row["mode"], row["title"], with_interval(row["metrics"]["macro_f1"])),
                *(number(row["metrics"][name]["value"]) for name in areas),
                with_interval(row["per_patient"]),
                *(each_value(row) for _ in few),
                *(with_interval(row["patient_level"][how]["macro_f1"]) for how in levels),
            ]
            for row in sorted(rows, key=lambda row: sizes.index(row["labels"]))
        ],
    )
    why = no_areas(rows)
    differences = markdown(
        ["labels", "first", "second", "macro-F1", own, *few, "p (sign flip)"],
        [
            [
                *(pair["labels"], pair["first"], pair["second"]),
                *(with_interval({**pair[name], "value": pair[name]["mean"]}) for name in ("macro_f1", "per_patient")),
                *(each_value(pair) for _ in few),
                number(pair["per_patient"]["p"]),
            ]
            for pair in sorted(pairs, key=lambda pair: sizes.index(pair["labels"]))
        ],
    )
    said = f"differences (first minus second), paired over the same resampled {unit}"
    return [table, *([f"note: {why}"] if why else []), said, differences]


def each_value(line: Mapping[str, Any]) -> str:
    """Every patient's value, and their median."""
    values = [f"{name} {number(value)}" for name, value in line["patients"].items()]
    return f"{', '.join(values)} ({number(line['median'])})"


def header_of(row: Mapping[str, Any]) -> str:
    """What stands over a table: the task, who is judged, what intervals are over, and how folds and repeats enter."""
    n, unit, inner = row["n_test_patients"], row["unit"], row["part"] == "validation"
    people = f"{n} {'inner validation' if inner else 'test'} patient{'s' * (n != 1)}"
    people += " (for choosing, not for reporting)" * inner
    over = unit if unit == "patients" else f"{unit} of {n} patient{'s' * (n != 1)}"
    level = row["metrics"]["macro_f1"]["level"]
    interval = f"[{level:.0%} bootstrap interval over {over}]"
    words = [
        f"classes {' '.join(row['classes'])}, {people}",
        "too few for an interval: each one's value, and the median" if row.get("patients") else interval,
        f"metrics over windows unless {unit} are named",
    ]
    if max(row["n_times"]) > 1:
        times = " to ".join(str(number) for number in dict.fromkeys(row["n_times"]))
        words.append(f"each judged in {times} folds, whose mean counts")
    if row["n_repeats"] > 1:
        words.append(f"means of {row['n_repeats']} draws of the folds")
    if row["n_folds"] > 1 and row["n_complete_folds"]:
        words.append(f"AUROC and AUPRC within the {row['n_complete_folds']} of {row['n_folds']} folds with every class")
    return "; ".join(words)


def no_areas(rows: Sequence[Mapping[str, Any]]) -> str:
    """Why a table has no AUROC, where it has none."""
    if any(row["metrics"]["auroc"]["value"] == row["metrics"]["auroc"]["value"] for row in rows):
        return ""
    why = "AUROC needs test sets that hold every class"
    alone = rows[0]["n_folds"] > 1 and rows[0]["own_metric"] == "accuracy" and rows[0]["unit"] == "patients"
    pairs = "; leave-one-pair-out: split.kind=k-fold with n_folds = patients of the smaller class"
    return why + (pairs if alone else "")
