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
# # 2 · ECG: arrhythmia with few labelled patients
#
# **Question.** Heartbeats are to be sorted into normal (N), supraventricular (S) and ventricular (V) in people whom
# the model has never seen. All recordings may be used, but somebody has labelled the beats of two patients, or of
# four. COMET pretrains on four levels at once: time step, beat, trial, patient. What does each of them add, switched
# on one by one?
#
# **Data.** Where the recordings of the MIT-BIH arrhythmia database are at hand (`biocl data prepare mitdb --download`
# fetches them), everything below is of **real** people: 48 half hours of two-lead ECG. Elsewhere a **synthetic**
# cohort of the same shape takes their place: two leads, beats, trials of ten beats, but two classes, and nothing to
# learn about hearts. The next cell says which it is; the text is about the real ones.

# %%
import json
from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import numpy as np
from recordings import at_hand
from short import short

import biocl
from biocl.commands.audit import audit

store = at_hand("mitdb", "ecg/mitdb")
real = store is not None
print("The recordings are", "real." if real else "synthetic.")
if store is None:
    store = biocl.prepare("synthetic-ecg")

# %% [markdown]
# ## Data card
#
# Windows are beats, from 0.3 s before to 0.5 s after the R peak. Few patients have most of the rare ones: a class
# whose beats are nearly all of one person cannot be called learned.

# %%
table = store.windows
classes = ["N", "S", "V"] if real else list(table.classes)
print(
    f"{len(store.patient_names)} patients, {len(table)} beats of {table.n_times / store.sfreq:g} s on "
    f"{len(store.channels)} leads at {store.sfreq:g} Hz"
)
for name in classes:
    beats = np.bincount(table.patient[table.rows["label"] == table.classes.index(name)])
    print(
        f"{name}: {beats.sum()} beats of {(beats > 0).sum()} patients, {beats.max() / beats.sum():.0%} of them "
        f"of patient {table.names['patient'][beats.argmax()]}"
    )

# %% [markdown]
# ## Protocol
#
# The field splits these recordings into DS1 and DS2, to train on one and test on the other. The split as it was
# published has a leak that `biocl audit` finds: records 201 and 202, one on either side, are **one man**. (Of the
# synthetic cohort, a split is audited in which a leak was planted.)

# %%
published = "ds1-ds2-published"
if not real:
    folds = [{"train": ["P001", "P002"], "validation": [], "test": ["P001", "P003"]}]
    published = str(Path(mkdtemp()) / "published.json")
    Path(published).write_text(json.dumps({"format": 1, "scope": "patient", "folds": folds}))
found = audit(store.path, published)
for leak in found.leaks:
    print(f"LEAK: {leak.what}.\n{leak.fix}.")

# %% [markdown]
# So `comet-mitdb` uses biocl's `ds1-ds2`, which leaves record 201 out. Its four terms are listed from the finest level
# to the coarsest. A **variant** is the experiment with some keys replaced; three of them, with the last terms' weights
# at zero, and the experiment itself are the four steps. All are pretrained on the same people, for the same number of
# steps, and probed with the same labels.

# %%
levels = {
    "time step": {"terms.1.weight": 0, "terms.2.weight": 0, "terms.3.weight": 0},
    "+ beat": {"terms.2.weight": 0, "terms.3.weight": 0},
    "+ trial": {"terms.3.weight": 0},
}
experiment = {
    "variants": levels,
    "encoder.hidden_dim": 16,
    "encoder.embed_dim": 32,
    "batch.n_samples": 4,
    "train.steps": 150,
    "evaluate.class_sets": [classes],
    "evaluate.modes": ["linear"],
    "evaluate.draws": 2,
    "evaluate.probe": {"c_grid": [1e-3, 1e-2, 1e-1], "max_inner_rows": 4000},
}
synthetic = {
    "data": {"dataset": "synthetic-ecg", "aux": "rr-intervals", "input_scale": "recording"},
    "split": {"kind": "random", "fractions": [0.5, 0.2, 0.3]},
}
study = biocl.evaluate(
    "comet-mitdb",
    {
        **experiment,
        **({} if real else synthetic),
        **short(
            train__steps=2,
            encoder__depth=1,
            encoder__hidden_dim=4,
            evaluate__labels=["4 patients"],
            evaluate__draws=1,
            evaluate__per_recording="none",
            evaluate__bootstrap_draws=50,
            evaluate__probe={"c": 0.01, "max_iter": 20, "max_rows": 2000},
        ),
    },
)
for part, patients in study.split["folds"][0]["patients"].items():
    print(f"{part:<12}{len(patients):>3} patients: {', '.join(patients)}")

# %% [markdown]
# ## Result
#
# Macro-F1 over the beats of the test patients, mean over draws of labelled patients. *untrained* is the same encoder
# with the weights it started from, under the same probe. The floors are logistic regressions on what a cardiologist
# would measure: intervals between beats (RR), the shape of the beat, or both.

# %%
rows = study.table
sizes = list(dict.fromkeys(rows["labels"]))
arms = ["untrained", *levels, "pretrained"]
floors = [arm for arm in ("majority", "rr", "shape", "rr-shape") if arm in set(rows["arm"])]
names = {"pretrained": "+ patient (COMET)"}
scores = rows.pivot(index="arm", columns="labels", values="metrics.macro_f1.value").loc[[*floors, *arms], sizes]
print(scores.rename(index=names).round(3).to_string())

# %%
floors.remove("majority")
colors = [*plt.get_cmap("viridis")(np.linspace(0.9, 0, len(arms) - 1))]
figure, panels = plt.subplots(
    1, len(sizes), figsize=(10, 3.6), sharex=True, sharey=True, squeeze=False, layout="constrained"
)
for axes, size in zip(panels[0], sizes, strict=True):
    mine = rows[(rows["labels"] == size) & rows["arm"].isin([*arms, *floors])].set_index("arm").loc[[*floors, *arms]]
    value, low, high = (mine[f"metrics.macro_f1.{key}"].to_numpy(float) for key in ("value", "low", "high"))
    places = np.arange(len(mine))[::-1]
    shades = ["0.6"] * len(floors) + ["C1"] + colors
    axes.hlines(places, low, high, color=shades, lw=2)
    axes.scatter(value, places, color=shades, zorder=2)
    axes.axvline(value[len(floors)], color="C1", lw=0.8, ls=":")
    axes.set(title=f"labelled: {size}", yticks=places, yticklabels=[names.get(arm, arm) for arm in mine.index])
    axes.grid(axis="x", color="0.85")
figure.supxlabel("macro-F1, 95 % interval over test patients (dotted: the untrained encoder)", fontsize=10)
plt.show()

# %% [markdown]
# All rows are judged on the same people, so what counts is the **paired difference**: all four levels minus each of
# the rows before it. An interval that covers zero says that these patients do not decide.

# %%
figure, panels = plt.subplots(
    1, len(sizes), figsize=(10, 2.6), sharex=True, sharey=True, squeeze=False, layout="constrained"
)
for axes, size in zip(panels[0], sizes, strict=True):
    found = {one["second"]: one["macro_f1"] for one in study.differences if one["labels"] == size}
    for place, (arm, color) in enumerate(zip(arms[:-1], ["C1", *colors], strict=False)):
        gain = found[f"{arm} (linear)"]
        axes.plot([gain["low"], gain["high"]], [-place] * 2, color=color, lw=2)
        axes.plot(gain["mean"], -place, "o", color=color)
    axes.axvline(0, color="grey", lw=0.8)
    axes.set(title=f"labelled: {size}", yticks=-np.arange(len(arms) - 1), yticklabels=arms[:-1])
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="x", color="0.85")
figure.supxlabel("macro-F1 of all four levels minus that of the row, 95 % interval over test patients", fontsize=10)
plt.show()

# %% [markdown]
# With two and with four labelled patients, pretraining on all four levels beats the untrained encoder, by .04 and .03.
# With all seventeen it does not: the labels then say as much. **Nearly all of that gain is there with the finest level
# alone.** The three other levels together add nothing to it, and with four labelled patients the whole is .02 behind
# its first term; the patient level brings back less than .01 of what those between took. Terms are not better for
# being more: whoever shows four should show one.
#
# The third grey row is ahead of all of it, at every label size: RR and shape, in a logistic regression. With four
# labelled patients the interval of that difference is clear of zero too (`study.differences`).
#
# ## Caveat
#
# One seed. The shipped study moved by .02 when it was repeated, so the order of the levels among themselves is not
# settled. Three quarters of the S beats that are judged are of **one** patient, 232, and the intervals over patients
# are wide for that reason. The encoder is half as wide as the shipped one and sees 150 small batches, so that this
# runs in minutes. The floors stand on features that were chosen with these test patients in sight, which makes them
# hard ones. And the probe reads each feature against the median of its recording (`per_recording: deviation`), so it
# needs a patient's whole recording, unlabelled, before it says a word.
