# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 6 · Your own data, from folder to page
#
# **Question.** A folder of recordings, one file a trial, a label in each file's name: is there anything in them that
# tells the two conditions apart in a person who was never seen?
#
# **Data.** So that this notebook runs anywhere, its first cell writes a folder such as yours: **synthetic** two-lead
# ECG of twenty people, eight trials each, as CSV files named `sub-P001/03_class-1.csv`. With your own folder, leave
# that cell out and change the template below.

# %%
import csv
from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import numpy as np
from short import short
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import biocl
from biocl.commands.cards import write_card
from biocl.store.gather import gather

made = biocl.prepare("synthetic-ecg")
folder = Path(mkdtemp(prefix="recordings-"))
trials = made.events[made.events["kind"] == made.event_kinds.index("trial")]
for number, trial in enumerate(trials[::2]):
    start, length = (round(trial[key] * made.sfreq) for key in ("onset_s", "duration_s"))
    signal = made.signal(int(trial["recording"]))[start : start + length]
    patient, label = made.recording_names[trial["recording"]], made.event_labels[trial["label"]]
    path = folder / f"sub-{patient}" / f"{number % 8:02}_{label}.csv"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["I [mV]", "II [mV]"], *signal.tolist()])
print(f"{len(list(folder.rglob('*.csv')))} files, such as {path.relative_to(folder)}")

# %% [markdown]
# ## From files to a store
#
# The template says what the parts of a path mean; `{patient}` is the one that counts, since people are what is split.
# Units stand in the columns' names, and an amplitude that no heart gives in that unit would stop the build. Nothing is
# resampled or filtered unless a configuration says so.

# %%
store = biocl.prepare(
    folder,
    files="sub-{patient}/{trial}_{label}.csv",
    sfreq=125,
    modality="ecg",
    out=folder.with_name(f"{folder.name}-store"),
)
seconds = store.numbers["n_times"] / store.sfreq
print(
    f"{len(store.patient_names)} patients, {len(store)} recordings of {seconds.min():.1f} to {seconds.max():.1f} s, "
    f"{len(store.channels)} channels at {store.sfreq:g} Hz"
)

# %% [markdown]
# ## Data card
#
# What can be computed from the store is filled in; what only you can say (consent, how people were recruited, what is
# wrong with the data) is marked.

# %%
print(write_card(store, None))

# %% [markdown]
# ## Protocol
#
# `own-data` is the shipped start: windows of two seconds, COMET's four terms, patients drawn into train, validation and
# test. With twenty people one draw of four test patients would say little, so the split is ours: **five folds**, in
# which each person is tested once, by an encoder that never saw anyone of that fold.

# %%
mine = {
    "name": "mine",
    "data.store": store,
    "split": {"kind": "k-fold", "n_folds": 5},
    "train.steps": 100,
    "evaluate.draws": 2,
}
study = biocl.evaluate(
    "own-data",
    {**mine, **short(train__steps=3, split__n_folds=2, evaluate__draws=1, evaluate__bootstrap_draws=50)},
)
print(study)

# %% [markdown]
# ## Result
#
# One dot a row of the table, with its interval over all twenty people. Blue against orange is what pretraining adds,
# blue against grey what any network adds to floors that need none. Where the bars overlap, read the paired differences
# above before saying anything.

# %%
rows = study.table[study.table["labels"] == "all"].sort_values("metrics.macro_f1.value")
value, low, high = (rows[f"metrics.macro_f1.{key}"].to_numpy() for key in ("value", "low", "high"))
figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
color = ["C0" if arm == "pretrained" else "C1" if arm == "untrained" else "0.5" for arm in rows["arm"]]
axes.hlines(range(len(rows)), low, high, color=color)
axes.scatter(value, range(len(rows)), color=color, zorder=2)
axes.set(
    yticks=range(len(rows)),
    yticklabels=rows["title"] + " (" + rows["mode"] + ")",
    xlabel="macro-F1 over windows, 95 % interval over patients",
)
plt.show()

# %% [markdown]
# ## The same windows in scikit-learn
#
# Where windows are already arrays, in a pipeline that you have, the encoder is a transformer. It is pretrained inside
# every fold on that fold's training people alone: `groups` are the patients, and both the splitter and the encoder need
# them.

# %%
table = store.windows
few = np.flatnonzero(table.patient < 5)
x = gather(store, table, few).transpose(0, 2, 1)
y = np.array(table.classes)[table.rows["label"][few]]
patients = np.array(table.names["patient"])[table.patient[few]]
encoder = biocl.BiosignalEncoder("own-data", sfreq=store.sfreq, modality="ecg", random_state=0, steps=30)
encoder.set_params(**short(steps=2))
scores = cross_val_score(
    make_pipeline(encoder, StandardScaler(), LogisticRegression(max_iter=1000)),
    x,
    y,
    groups=patients,
    cv=LeaveOneGroupOut(),
    params={"biosignalencoder__groups": patients},
)
print("accuracy on each of five people, pretrained on the other four:", *scores.round(2))

# %% [markdown]
# ## The page
#
# The run folder holds everything that is needed to reproduce the table: the resolved configuration, the split, every
# cell's predictions, the environment. `biocl report RUN` makes one self-contained HTML page of it, with a model card.

# %%
for path in sorted(study.path.iterdir()):
    print(path.name)

# %% [markdown]
# ## Caveat
#
# The recordings are synthetic. In yours, ask first what else differs between the two labels: the day, the device, the
# room, the person who recorded. A split between patients does not remove a difference that is the same in all patients.
# Five people are five numbers, and no interval makes more of them.
