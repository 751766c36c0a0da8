"""Where a study is kept: a journal file, SQLite, or a database server that may be restarted meanwhile."""

from __future__ import annotations

import functools
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError, SQLAlchemyError

from biocl.errors import DataError, UsageError
from biocl.files import disk_errors
from biocl.training.run import redacted

Result = TypeVar("Result")

PATIENCE_S = 600.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0
LOCK_LEFT_S = 10
"""A journal's lock is held for milliseconds; after this long, whoever held it was killed."""
JOURNAL = "study.journal"


def open_storage(url: str | None, out: Path, *, patient: bool = False) -> BaseStorage:
    """Open what ``--storage`` names.

    Parameters
    ----------
    url : str, optional
        ``postgresql://user@host/name``, ``sqlite:///file.db`` or the path of a journal file; default: a journal in the
        run folder.
    out : Path
        The run folder.
    patient : bool
        Wait for a server that is away, since it was there before.

    Raises
    ------
    UsageError
        There is no such database, or its driver is not installed.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if url is None or not is_database(url):
        path = out / JOURNAL if url is None else Path(url)
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = JournalFileSymlinkLock(str(path), grace_period=LOCK_LEFT_S)
            return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    logging.getLogger("alembic").setLevel(logging.WARNING)

    def connected() -> PatientStorage:
        return PatientStorage(with_driver(url), engine_kwargs=engine_arguments(url))

    try:
        return optuna.storages.get_storage(persist(connected) if patient else connected())
    except ImportError as error:
        raise UsageError(
            "The driver of this database is not installed", redacted(url), 'Run pip install "biocl[sweep]"'
        ) from error
    except (SQLAlchemyError, StorageInternalError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise UsageError(
            f"This storage cannot be opened ({redacted(reason)})",
            redacted(url),
            "Check --storage: the server, the name of the database, the user",
        ) from error


def with_driver(url: str) -> str:
    """``postgres://`` and ``postgresql://`` by psycopg 3, whatever SQLAlchemy's default."""
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)


def engine_arguments(url: str) -> dict[str, Any]:
    """A connection that went away is noticed before it is used; SQLite waits for its other writers."""
    return {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True}


def is_database(url: str) -> bool:
    """Whether a storage is none of files that biocl writes itself."""
    return "://" in url


def kind_of(url: str | None) -> str:
    """How a storage is called in results, without where it is."""
    return "journal" if url is None or not is_database(url) else re.split(r"[:+]", url, maxsplit=1)[0]


def is_lost(error: BaseException) -> bool:
    """Whether a database went away, or was busy, rather than refused what it was told."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OperationalError | InterfaceError | PendingRollbackError):
            return True
        if isinstance(seen, DBAPIError) and seen.connection_invalidated:
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def persist(call: Callable[[], Result]) -> Result:
    """The result of a call that is tried again, with growing pauses, while the database is away.

    Raises
    ------
    DataError
        It stays away.
    """
    began, wait = time.monotonic(), FIRST_WAIT_S
    while True:
        try:
            return call()
        except (StorageInternalError, SQLAlchemyError) as error:
            if not is_lost(error):
                raise
            if time.monotonic() - began > PATIENCE_S:
                raise DataError(
                    f"The database of the study has been away for {PATIENCE_S:.0f} s",
                    "--storage",
                    "Start it, then the same command with --resume goes on",
                ) from error
        time.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT_S)


def again(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a storage that outlives a restart of its database."""

    @functools.wraps(method)
    def patient(self: PatientStorage, *given: Any, **keys: Any) -> Any:
        return persist(lambda: method(self, *given, **keys))

    return patient


class PatientStorage(RDBStorage):
    """A database whose every operation outlives a restart of the server.

    An operation that was carried out just before the connection broke is repeated. Where that matters, it is harmless:
    a trial without an owner is cleaned up like that of a killed worker (`biocl.sweeps.liveness`), and a result that is
    told twice stays the first.
    """


OPERATIONS = (
    *("create_new_study", "delete_study", "set_study_user_attr", "set_study_system_attr", "get_study_id_from_name"),
    *("get_study_name_from_id", "get_study_directions", "get_study_user_attrs", "get_study_system_attrs"),
    *("get_all_studies", "_create_new_trial", "_set_trial_param", "get_trial_id_from_study_id_trial_number"),
    *("_get_best_trial_id", "set_trial_state_values", "set_trial_intermediate_value", "set_trial_user_attr"),
    *("set_trial_system_attr", "get_trial", "_get_trials", "get_trial_user_attrs", "get_trial_system_attrs"),
)
for name in OPERATIONS:
    setattr(PatientStorage, name, again(getattr(RDBStorage, name)))
