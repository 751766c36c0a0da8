"""The forecasting sets: one long series each, a column a channel, split in time as everybody does it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.download import Remote, download_files
from biocl.datasets.published import published_splits
from biocl.errors import DataError
from biocl.signals.recording import Channel, Recording

COPY_AGAIN = "Copy or download the file again; a user's own series is prepared as 'biocl data prepare TABLE.csv'"
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


@dataclass(frozen=True)
class Series:
    """A published file: its name, its size and how far apart its rows are.

    Attributes
    ----------
    name, file : str
        ``etth1``, ``ETTh1.csv``.
    n_rows, n_columns : int
        Rows below the header, and columns of numbers beside ``date``; the published borders hold for these.
    interval_s : float
        Seconds from one row to the next.
    window_steps : int
        Rows of a default window.
    """

    name: str
    file: str
    n_rows: int
    n_columns: int
    interval_s: float
    window_steps: int = 96


def entries(raw: Path, series: Series) -> list[Entry]:
    """The one recording, whose patient is the series itself.

    The file lies in the folder or one folder below it, plain or compressed (``.gz``, ``.xz``).

    Raises
    ------
    DataError
        If it is not there.
    """
    places = [raw / series.file, *(folder / series.file for folder in sorted(raw.glob("*/")))]
    for place in places:
        for path in (place, Path(f"{place}.gz"), Path(f"{place}.xz")):
            if path.is_file():
                return [Entry(series.name, patient=series.name, source=str(path))]
    raise DataError(f"The file {series.file} is not here", raw, "Give the folder that holds it with --raw")


def read(entry: Entry, series: Series) -> Recording:
    """The whole series, held in memory; the sampling rate is that of its rows (1/3600 Hz for hours).

    Raises
    ------
    DataError
        If the file is not a table of a date and numbers, has another size than the published one, lacks a date, or
        its time goes backwards. Steps of another length than the published interval are kept as they are and noted.
    """
    path = Path(entry.source)
    names, values, seconds = read_table(path)
    if values.shape != (series.n_rows, series.n_columns):
        raise DataError(
            f"This file holds {values.shape[0]} rows of {values.shape[1]} numbers, and the published {series.name} "
            f"{series.n_rows} rows of {series.n_columns}",
            path,
            COPY_AGAIN,
        )
    return Recording.from_array(
        entry.name,
        entry.patient,
        1 / series.interval_s,
        values,
        [Channel(name, "other", "NU") for name in names],
        source=str(path),
        notes=time_notes(seconds, series.interval_s, path),
    )


def read_table(path: Path) -> tuple[list[str], NDArray[np.float32], NDArray[np.float64]]:
    """Names of the columns, their numbers (n_rows, n_columns), and the dates in seconds, NaN where empty."""
    import lzma
    import zlib

    import pandas as pd

    try:
        table = pd.read_csv(path, encoding_errors="replace")  # units in names may be in another encoding
        dates = pd.to_datetime(table.pop("date"))
        seconds = ((dates - dates.iloc[0]) / pd.Timedelta(seconds=1)).to_numpy(np.float64)
        values = table.to_numpy(np.float32)
    except KeyError as error:
        raise DataError(f"This table has no column {error}", path, COPY_AGAIN) from error
    except (ValueError, IndexError, OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"This is not a table of a date and numbers ({first})", path, COPY_AGAIN) from error
    return [str(name) for name in table.columns], values, seconds


def time_notes(seconds: NDArray[np.float64], interval_s: float, path: Path) -> list[str]:
    """What is odd about the time stamps of a series, as sentences.

    Raises
    ------
    DataError
        If a date is missing, or time goes backwards.
    """
    wrong = np.flatnonzero(~(np.diff(seconds) >= 0))
    if len(wrong):
        raise DataError(
            f"A date is missing, or time goes backwards, from row {wrong[0] + 1} to row {wrong[0] + 2} "
            f"({len(wrong)} such places)",
            path,
            COPY_AGAIN,
        )
    odd = np.flatnonzero(np.abs(np.diff(seconds) - interval_s) > 1e-3)
    if not len(odd):
        return []
    return [
        f"{len(odd)} steps in time are not {interval_s:g} s long, the first behind row {odd[0] + 1}; the rows were "
        "taken as equally spaced, as in the published protocol"
    ]


# fmt: off
SERIES = {
    series.name: series
    for series in (
        Series("etth1", "ETTh1.csv", 17_420, 7, HOUR),
        Series("etth2", "ETTh2.csv", 17_420, 7, HOUR),
        Series("ettm1", "ETTm1.csv", 69_680, 7, 15 * MINUTE),
        Series("ettm2", "ETTm2.csv", 69_680, 7, 15 * MINUTE),
        Series("exchange", "exchange_rate.csv", 7_588, 8, DAY),
        Series("illness", "national_illness.csv", 966, 7, 7 * DAY, window_steps=36),
        Series("electricity", "electricity.csv", 26_304, 321, HOUR),
        Series("weather", "weather.csv", 52_696, 21, 10 * MINUTE),
        Series("traffic", "traffic.csv", 17_544, 862, HOUR),
    )
}
# fmt: on


def borders(series: Series) -> tuple[int, int, int]:
    """First rows of validation, of test, and behind test.

    The ETT sets take 12, 4 and 4 months of 30 days and leave the rest out; the others the first 70 % of the rows,
    the last 20 % (both rounded down), and what lies between them.
    """
    if series.name.startswith("ett"):
        month = round(30 * DAY / series.interval_s)
        return 12 * month, 16 * month, 20 * month
    return int(series.n_rows * 0.7), series.n_rows - int(series.n_rows * 0.2), series.n_rows


def data_set(name: str, **keys: Any) -> Dataset:
    """The data set of one series: windows of 96 rows (illness: 36), one beginning at each row, without labels."""
    series = SERIES[name]
    access: Literal["open", "request"] = keys.pop("access", "open")
    return Dataset(
        name=name,
        modality="series",
        version="1",
        entries=partial(entries, series=series),
        read=partial(read, series=series),
        classes=(),
        splits=published_splits(name),
        defaults={
            "windows": {
                "kind": "sliding",
                "length_s": series.window_steps * series.interval_s,
                "step_s": series.interval_s,
            },
            "trials": {"kind": "recording"},
            "classes": [],
        },
        access=access,
        **keys,
    )


INFORMER = (
    "Zhou H, Zhang S, Peng J, et al. Informer: beyond efficient Transformer for long sequence time-series "
    "forecasting. AAAI 2021"
)
LSTNET = (
    "Lai G, Chang WC, Yang Y, Liu H. Modeling long- and short-term temporal patterns with deep neural networks. "
    "SIGIR 2018"
)
AUTOFORMER = (
    "Wu H, Xu J, Wang J, Long M. Autoformer: decomposition Transformers with auto-correlation for long-term series "
    "forecasting. NeurIPS 2021"
)
NO_TERMS = (
    "The terms of use are not stated: ask whoever publishes the data before you pass on the file or a store of it."
)
ETT = {
    "licence": "CC BY-ND 4.0",
    "citation": INFORMER,
    "homepage": "https://github.com/zhouhaoyi/ETDataset",
    "notes": "The licence allows unmodified copies only: a prepared store is for your own use and not to be shared.",
}

ETT_FILES = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/1d16c8f4f943005d613b5bc962e9eeb06058cf07/ETT-small/"


def ett(name: str, file: str, sha256: str | None = None) -> Dataset:
    """One of the ETT sets; its file is fetched from the commit that is named above."""
    return data_set(name, **ETT, download=partial(download_files, (Remote(f"{ETT_FILES}{file}", sha256),)))


ETTH1 = ett("etth1", "ETTh1.csv", "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066")
ETTH2 = ett("etth2", "ETTh2.csv", "a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b")
ETTM1 = ett("ettm1", "ETTm1.csv")
ETTM2 = ett("ettm2", "ETTm2.csv")
EXCHANGE = data_set(
    "exchange",
    access="request",
    licence="not stated by the source",
    citation=LSTNET,
    homepage="https://github.com/laiguokun/multivariate-time-series-data",
    notes=NO_TERMS,
)
ILLNESS = data_set(
    "illness",
    access="request",
    licence="not stated by the source of the file; the numbers are work of the US government (CDC)",
    citation=f"Centers for Disease Control and Prevention, ILINet; {AUTOFORMER}",
    homepage="https://gis.cdc.gov/grasp/fluview/fluportaldashboard.html",
    notes=NO_TERMS,
)
ELECTRICITY = data_set(
    "electricity",
    licence="CC BY 4.0",
    citation=f"Trindade A. ElectricityLoadDiagrams20112014. UCI Machine Learning Repository, 2015; {LSTNET}",
    homepage="https://archive.ics.uci.edu/dataset/321/electricityloaddiagrams20112014",
    notes="The hourly table of 321 clients that forecasting papers use, not UCI's table of 370 clients.",
)
WEATHER = data_set(
    "weather",
    access="request",
    licence="not stated by the source",
    citation=f"Max Planck Institute for Biogeochemistry, Jena, weather station; {AUTOFORMER}",
    homepage="https://www.bgc-jena.mpg.de/wetter/",
    notes=NO_TERMS,
)
TRAFFIC = data_set(
    "traffic",
    access="request",
    licence="not stated by the source",
    citation=f"California Department of Transportation, Performance Measurement System (PeMS); {LSTNET}",
    homepage="https://pems.dot.ca.gov",
    notes=NO_TERMS,
)
