"""The command line: one short function per verb, no logic; nothing heavy is imported before a verb runs."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from biocl import __version__
from biocl.errors import BioclError, Interrupted

app = typer.Typer(
    help="Contrastive pretraining on EEG, ECG and IMU recordings, judged on unseen patients.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Data sets and prepared stores.", no_args_is_help=True)
config_app = typer.Typer(help="Configuration files.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(config_app, name="config")

Config = Annotated[Path, typer.Argument(help="A YAML file, or the name of a shipped one.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="key.sub=value, read as YAML.")]
Out = Annotated[Path | None, typer.Option("--out", help="Run folder; default runs/NAME-TIME.")]
From = Annotated[Path | None, typer.Option("--from", help="Run folder of a pretraining.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Replaces the file's seed.", min=0)]
Resume = Annotated[bool, typer.Option("--resume", help="Continue what is in --out, or start it.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error (any place).")] = False,
) -> None:
    """Options that every verb has."""
    if version:
        print(f"biocl {__version__}")
        raise typer.Exit


@data_app.command("list")
def data_list(as_json: Json = False) -> None:
    """List the data sets, and what of each is on this machine."""
    from biocl.commands.catalogue import list_datasets, print_datasets

    print_datasets(list_datasets(), as_json=as_json)


@data_app.command("formats")
def data_formats() -> None:
    """List the file formats that can be read, and the keys of a layout, as Markdown tables."""
    from biocl.signals.readers.formats import formats_markdown
    from biocl.signals.readers.layout import layout_markdown

    print(f"{formats_markdown()}\n\n{layout_markdown()}")


@data_app.command("prepare")
def data_prepare(
    name: Annotated[str, typer.Argument(help="A name from `biocl data list`, a CSV or a folder of your own.")],
    raw: Annotated[Path | None, typer.Option("--raw", help="Folder of the native files.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the native files first.")] = False,
    config: Annotated[Path | None, typer.Option("--config", help="Condition as this configuration says.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where the store goes.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", help="Processes.", min=1)] = 1,
    resample_hz: Annotated[float | None, typer.Option("--resample-hz", help="0 keeps the native rate.")] = None,
    sfreq: Annotated[float | None, typer.Option("--sfreq", help="Own recordings: rate of tables of numbers.")] = None,
    modality: Annotated[str, typer.Option("--modality", help="Own recordings: ecg, eeg, imu or other.")] = "other",
    layout: Annotated[Path | None, typer.Option("--layout", help="Own tables: a YAML that describes them.")] = None,
    files: Annotated[
        str | None, typer.Option("--files", help="Own folder: its paths, 'sub-{patient}/{trial}_{label}.edf'.")
    ] = None,
) -> None:
    """Turn native files into a store."""
    from biocl.commands.cards import check_card
    from biocl.commands.inspect import describe_store, print_store, require_windows
    from biocl.commands.prepare import prepare_named

    store = prepare_named(
        name,
        raw=raw,
        download=download,
        config=config,
        out=out,
        n_jobs=jobs,
        resample_hz=resample_hz,
        sfreq=sfreq,
        modality=modality,
        layout=layout,
        files=files,
    )
    require_windows(store)
    facts = describe_store(store)
    print_store(facts, as_json=False)
    for sentence in check_card(store, facts):
        print(f"{'card':<14}{sentence}")


@data_app.command("inspect")
def data_inspect(
    store: Annotated[Path, typer.Argument(help="A store's folder.")],
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw examples and quality into this .png, .pdf or .svg file.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Quality of every window, not of a sample.")] = False,
    as_json: Json = False,
) -> None:
    """Say what a store holds and how good its signals are; draw some of them."""
    from biocl.commands.inspect import inspect_store, print_store
    from biocl.store.store import Store

    print_store(inspect_store(Store.open(store), every=every, picture=picture), as_json=as_json)


@data_app.command("card")
def data_card(
    store: Annotated[Path, typer.Argument(help="A store's folder.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="A file; default: print it.")] = None,
) -> None:
    """Write a data card, your own data's included; what only you can say is marked."""
    from biocl.commands.cards import write_card
    from biocl.store.store import Store

    print(write_card(Store.open(store), out))


@app.command()
def plan(
    config: Config,
    overrides: Overrides = None,
    device: Device = "auto",
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Show what `auto` becomes, the batch's composition, and what memory and time to expect."""
    from biocl.commands.plan import make_plan, print_plan
    from biocl.config import load_experiment

    print_plan(make_plan(load_experiment(config, overrides or [], seed=seed), device=device), as_json=as_json)


@app.command()
def pretrain(
    config: Config,
    overrides: Overrides = None,
    out: Out = None,
    device: Device = "auto",
    seed: Seed = None,
    resume: Resume = False,
) -> None:
    """Pretrain an encoder on the training patients."""
    from biocl.commands.pretrain import pretrain as run
    from biocl.commands.pretrain import summary
    from biocl.config import load_experiment
    from biocl.training.run import default_run, read_metrics

    experiment = load_experiment(config, overrides or [], seed=seed)
    folder = run(experiment, out or default_run(experiment.name), device=device, resume=resume)
    print(summary(folder, read_metrics(folder / "metrics.jsonl")))


@app.command()
def finetune(
    config: Config,
    overrides: Overrides = None,
    from_run: From = None,
    labels: Annotated[
        str | None, typer.Option("--labels", help="'2 patients', '10% patients', '1% windows' or all.")
    ] = None,
    mode: Annotated[str | None, typer.Option("--mode", help="linear, partial or full.")] = None,
    out: Out = None,
    device: Device = "auto",
    seed: Seed = None,
    resume: Resume = False,
) -> None:
    """Fine-tune a pretrained encoder with some labels, and judge it on the test patients (or evaluate.part)."""
    from biocl.commands.finetune import finetune as run
    from biocl.config import load_experiment
    from biocl.training.run import default_run

    extra = [f"finetune.labels={json.dumps(labels)}"] if labels is not None else []
    extra += [f"finetune.mode={mode}"] if mode else []
    experiment = load_experiment(config, [*(overrides or []), *extra], seed=seed)
    print(
        run(
            experiment,
            from_run,
            out or default_run(f"{experiment.name}-finetune"),
            device=device,
            resume=resume,
        )
    )


@app.command()
def evaluate(
    config: Config,
    overrides: Overrides = None,
    from_run: From = None,
    out: Out = None,
    device: Device = "auto",
    seed: Seed = None,
    resume: Resume = False,
) -> None:
    """Run the whole protocol: folds, label sizes, draws, modes, floors."""
    from biocl.commands.evaluate import evaluate as run
    from biocl.config import load_experiment
    from biocl.training.run import default_run

    experiment = load_experiment(config, overrides or [], seed=seed)
    print(
        run(
            experiment,
            from_run,
            out or default_run(f"{experiment.name}-evaluate"),
            device=device,
            resume=resume,
        )
    )


@app.command()
def sweep(
    config: Config,
    overrides: Overrides = None,
    storage: Annotated[
        str | None,
        typer.Option("--storage", help="A journal file, sqlite:///FILE or postgresql://…; default: in the run folder."),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", help="Processes.", min=1)] = 1,
    trials: Annotated[int | None, typer.Option("--trials", help="Replaces sweep.trials.", min=1)] = None,
    out: Out = None,
    device: Device = "auto",
    seed: Seed = None,
    resume: Resume = False,
) -> None:
    """Search over keys of a configuration, by inner validation patients alone."""
    from biocl.commands.sweep import sweep as run
    from biocl.config import load_experiment
    from biocl.training.run import default_run

    experiment = load_experiment(config, overrides or [], seed=seed)
    folder = out or default_run(f"{experiment.name}-sweep")
    print(run(experiment, folder, storage=storage, workers=workers, trials=trials, device=device, resume=resume))


@app.command()
def embed(
    run: Annotated[Path, typer.Argument(help="Run folder of a pretraining.")],
    store: Annotated[Path, typer.Argument(help="A store.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="An .npz file.")],
    device: Device = "auto",
) -> None:
    """Write the embeddings of every window of a store."""
    from biocl.commands.embed import embed_store

    print(embed_store(run, store, out, device=device))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of studies; the first is what others are held to.")],
    as_json: Json = False,
) -> None:
    """Lay studies side by side, with differences that are paired over the same patients."""
    from biocl.commands.compare import compare as run
    from biocl.commands.compare import print_comparison

    print_comparison(run(runs), as_json=as_json)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of a pretraining, fine-tuning or study.")],
    out: Annotated[Path | None, typer.Option("--out", help="An .html file; default report.html in the run.")] = None,
    show_patients: Annotated[bool, typer.Option("--show-patients", help="Patients by name, not pseudonym.")] = False,
) -> None:
    """Write one page of figures and tables that can be shown, and a model card beside it."""
    from biocl.commands.report import report as run

    print(run(runs, out, show_patients=show_patients))


@app.command()
def audit(
    place: Annotated[Path, typer.Argument(help="A store, or a run folder.")],
    split: Annotated[
        str | None,
        typer.Option("--split", help="Of a store: a published split, a split file or a configuration; default: all."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Look for leakage of every kind; exit code 4 when there is any."""
    from biocl.commands.audit import audit as run
    from biocl.commands.audit import print_audit, refuse_leaks

    found = run(place, split)
    print_audit(found, as_json=as_json)
    refuse_leaks(found)


@config_app.command("list")
def config_list(as_json: Json = False) -> None:
    """List the shipped configurations."""
    from biocl.commands.configs import print_configs

    print_configs(as_json=as_json)


@config_app.command("copy")
def config_copy(name: str, target: Path) -> None:
    """Copy a shipped configuration to change it."""
    from biocl.commands.configs import copy_config

    print(copy_config(name, target))


@config_app.command("explain")
def config_explain(key: str) -> None:
    """Say what a key takes and what it does."""
    from biocl.commands.configs import explain_key

    print(explain_key(key))


@config_app.command("validate")
def config_validate(config: Config, overrides: Overrides = None) -> None:
    """Check a configuration without running it."""
    from biocl.config import load_experiment

    experiment = load_experiment(config, overrides or [])
    print(f"{config}: valid ({experiment.name}, {len(experiment.terms)} terms)")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check the installation and say how to mend it."""
    from biocl.commands.doctor import diagnose, print_diagnosis

    print_diagnosis(diagnose(), as_json=as_json)


def main() -> None:
    """Entry point: errors become one paragraph and an exit code; a stop request is one of them."""
    debug = "--debug" in sys.argv
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        app(args=[word for word in sys.argv[1:] if word != "--debug"])
    except BioclError as error:
        if debug:
            raise
        print(f"error: {error.paragraph()}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


def stop(number: int, frame: object) -> None:
    """What a signal does outside training, which finishes its step and saves first."""
    raise Interrupted(
        "Stopped on request; nothing that was finished is lost", fix="The same command with --resume goes on from there"
    )


if __name__ == "__main__":
    main()
