"""One page of one run or several, and the model card beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from biocl.commands.compare import compare_runs, format_comparison
from biocl.commands.report_data import at_hand
from biocl.commands.report_run import Known, run_page, without_names
from biocl.commands.run_files import RunFiles, read_run
from biocl.datasets.card import card_line
from biocl.errors import BioclError, UsageError
from biocl.files import write_text
from biocl.reports.blocks import blocks_of
from biocl.reports.card import write_model_card
from biocl.reports.page import Comparison, Page, render
from biocl.reports.privacy import Privacy, pseudonym_key


def report(paths: Sequence[Path], out: Path | None = None, *, show_patients: bool = False) -> str:
    """Write the page of some runs.

    Parameters
    ----------
    paths : sequence of Path
        Run folders of a pretraining, a fine-tuning or a study.
    out : Path, optional
        The page; default ``report.html`` in the run folder, of several runs ``comparison.html`` in the first one's.
        ``MODEL_CARD.md`` is put beside the page of a single run, unless somebody edited the one that is there.
    show_patients : bool
        Patients stand under their own names on the page (never on the card).

    Returns
    -------
    str
        What was written.

    Raises
    ------
    UsageError
        A folder is no run, a run is named twice, or `out` is no ``.html``.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("A run is named twice", "RUN", "Name each once")
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise UsageError("A page is a file that ends in .html", out, "Name the file something.html")
    runs = [read_run(path) for path in paths]
    target = out or runs[0].path / ("report.html" if len(runs) == 1 else "comparison.html")
    key, kept = pseudonym_key()
    known = [know(run, key, show_patients) for run in runs]
    pages = [run_page(one, f"run-{number + 1}") for number, one in enumerate(known)]
    title = pages[0].experiment if len(runs) == 1 else f"{len(runs)} runs side by side"
    comparison = compared(known) if len(runs) > 1 else None
    write_text(target, render(Page(title, pages, people_in_words(show_patients, kept), comparison)))
    said = [f"{target}: {len(runs)} run{'s' * (len(runs) > 1)}, one file that needs no network"]
    if len(runs) > 1:
        return "\n".join([*said, "no MODEL_CARD.md: a card is about one run (biocl report RUN)"])
    card, path = known[0].card(), target.parent / "MODEL_CARD.md"
    wrote = write_model_card(card, path)
    return "\n".join([*said, f"{path}: {'the model card' if wrote else 'was edited, and is left as it is'}"])


def know(files: RunFiles, key: bytes, show: bool) -> Known:
    """A run with its store, where that is at hand, and how its patients are called."""
    here = at_hand(files)
    names = files.patients()
    classes: list[str] = list(files.experiment.data.classes or [])
    classes += [name for row in files.rows for name in row.get("classes", ())]
    dataset = files.experiment.data.dataset or ""
    devices: list[str] = []
    modality = card_line(dataset, "modality")
    if here.cohort is not None:
        store = here.cohort.windows.store
        names = [*names, *store.patient_names]
        classes += here.cohort.windows.table.classes
        devices = [channel.device for channel in store.channels]
        dataset, modality = store.meta["dataset"], store.meta["modality"]
    dataset = dataset or str((files.results or {}).get("protocol", "")).partition(",")[0] or files.name
    is_series = modality == "series" and len(set(names)) == 1  # of nobody
    privacy = Privacy.of(dataset, names, key, classes=classes, show=show or is_series)
    hidden = Privacy.of(dataset, names, key, classes=classes, show=is_series)
    also = frozenset(devices)
    return Known(files, here, privacy.knowing(also), hidden.knowing(also), dataset, is_series)


def people_in_words(show: bool, kept: bool) -> str:
    """What the page says of how it names patients."""
    if show:
        return "Patients stand under their own names (--show-patients): this page is as confidential as the recordings."
    same = "the same person has the same one on every page of this installation" if kept else "for this page alone"
    return f"Patients have pseudonyms, {same}; who is who cannot be told without the key, which is not on this page."


def compared(known: Sequence[Known]) -> Comparison:
    """The comparison of several runs, or why there is none; patients by their pseudonyms."""
    try:
        found = compare_runs([one.files for one in known])
    except BioclError as error:
        said = error.what
        for one in known:
            said = one.privacy.prose(said)
        return Comparison(absent=f"The runs cannot be compared: {said}.")
    for one in known:
        found = without_names(found, one.privacy)
    return Comparison(blocks_of(format_comparison(found)))
