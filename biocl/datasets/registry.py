"""Data sets by name; each module is imported only when its data set is asked for."""

from __future__ import annotations

import difflib
from importlib import import_module

from biocl.datasets.dataset import Dataset
from biocl.errors import UsageError

# name -> "module:attribute"
DATASETS = {
    "adftd": "biocl.datasets.adftd:ADFTD",
    "apava": "biocl.datasets.apava:APAVA",
    "blankertz2007": "biocl.datasets.blankertz2007:BLANKERTZ2007",
    "bnci2014001": "biocl.datasets.motor_imagery:BNCI2014001",
    "bnci2014002": "biocl.datasets.motor_imagery:BNCI2014002",
    "bnci2015001": "biocl.datasets.motor_imagery:BNCI2015001",
    "cinc2021": "biocl.datasets.cinc2021:CINC2021",
    "dsads": "biocl.datasets.dsads:DSADS",
    "ecgid": "biocl.datasets.ecgid:ECGID",
    "eegmmidb": "biocl.datasets.eegmmidb:EEGMMIDB",
    "electricity": "biocl.datasets.series:ELECTRICITY",
    "etth1": "biocl.datasets.series:ETTH1",
    "etth2": "biocl.datasets.series:ETTH2",
    "ettm1": "biocl.datasets.series:ETTM1",
    "ettm2": "biocl.datasets.series:ETTM2",
    "exchange": "biocl.datasets.series:EXCHANGE",
    "illness": "biocl.datasets.series:ILLNESS",
    "ludb": "biocl.datasets.ludb:LUDB",
    "mhealth": "biocl.datasets.mhealth:MHEALTH",
    "mitdb": "biocl.datasets.mitdb:MITDB",
    "opportunity": "biocl.datasets.opportunity:OPPORTUNITY",
    "pamap2": "biocl.datasets.pamap2:PAMAP2",
    "physical-therapy": "biocl.datasets.physical_therapy:PHYSICAL_THERAPY",
    "ptbdb": "biocl.datasets.ptbdb:PTBDB",
    "ptbdb-comet": "biocl.datasets.ptbdb:PTBDB_COMET",
    "ptbxl": "biocl.datasets.ptbxl:PTBXL",
    "ptbxl-500": "biocl.datasets.ptbxl:PTBXL_500",
    "realworld": "biocl.datasets.realworld:REALWORLD",
    "smni_cmi": "biocl.datasets.smni_cmi:SMNI_CMI",
    "sp-sw-har": "biocl.datasets.sp_sw_har:SP_SW_HAR",
    "synthetic-ecg": "biocl.datasets.synthetic:ECG",
    "synthetic-eeg": "biocl.datasets.synthetic:EEG",
    "synthetic-imu": "biocl.datasets.synthetic:IMU",
    "synthetic-mi": "biocl.datasets.synthetic_mi:SYNTHETIC_MI",
    "tdbrain": "biocl.datasets.tdbrain:TDBRAIN",
    "traffic": "biocl.datasets.series:TRAFFIC",
    "uci-har": "biocl.datasets.uci_har:UCI_HAR",
    "weather": "biocl.datasets.series:WEATHER",
    "zhou2016": "biocl.datasets.motor_imagery:ZHOU2016",
}


def dataset_names() -> tuple[str, ...]:
    """Names of all registered data sets, sorted."""
    return tuple(sorted(DATASETS))


def find_dataset(name: str) -> Dataset:
    """The data set of that name.

    Raises
    ------
    UsageError
        If there is none; the message holds the nearest name and the whole list.
    """
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1, cutoff=0.5)
        guess = f"Did you mean {near[0]!r}? " if near else ""
        raise UsageError(
            f"There is no data set named {name!r}",
            fix=f"{guess}The known ones are {', '.join(dataset_names())}",
        )
    module, attribute = DATASETS[name].split(":")
    dataset: Dataset = getattr(import_module(module), attribute)
    return dataset
