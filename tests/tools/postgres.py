"""A PostgreSQL server of a test's own, on a socket in a temporary folder."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

USER = "biocl"


@dataclass(frozen=True)
class Server:
    """A running server; `url` is its database."""

    programs: Path
    folder: Path

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@/postgres?host={self.folder}"

    def control(self, *words: str) -> None:
        """``pg_ctl``."""
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
        log = str(self.folder / "log")
        command = [str(self.programs / "pg_ctl"), "-D", str(self.folder / "data"), "-w", "-l", log, "-o", options]
        run([*command, *words])

    def restart(self) -> None:
        """As if its machine had lost power: connections break, and it recovers."""
        self.control("-m", "immediate", "restart")


def programs() -> Path | None:
    """The folder of ``initdb`` and ``pg_ctl``, None where there is none."""
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
    found = [shutil.which("initdb"), *(f"{folder}/initdb" for folder in folders)]
    return next((Path(path).parent for path in found if path and Path(path).with_name("pg_ctl").is_file()), None)


def account() -> str | None:
    """Who runs the server: it refuses root, so another account there; None where that cannot be."""
    if os.getuid() != 0:
        return ""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in known and shutil.which("setpriv")), None)


def why_not() -> str | None:
    """Why no server can be started, None where one can."""
    if programs() is None:
        return "PostgreSQL's initdb and pg_ctl are not installed"
    return "root cannot run PostgreSQL, and there is no setpriv or other account" if account() is None else None


def run(command: Sequence[str]) -> None:
    """Run as the server's account."""
    who = account()
    prefix = []
    if who:
        group = pwd.getpwnam(who).pw_gid
        prefix = ["setpriv", f"--reuid={who}", f"--regid={group}", "--clear-groups", "--"]
    done = subprocess.run(
        [*prefix, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd="/", check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")


@contextmanager
def server() -> Iterator[Server]:
    """Start a server in a new folder, and remove both."""
    found = programs()
    assert found is not None
    # In memory where that can be, since a new server writes much; and a socket's path has to be short.
    memory = "/dev/shm"
    folder = Path(tempfile.mkdtemp(prefix="biocl-pg-", dir=memory if os.access(memory, os.W_OK) else "/tmp"))
    try:
        if who := account():
            shutil.chown(folder, who)
        run([str(found / "initdb"), "-D", str(folder / "data"), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync"])
        one = Server(found, folder)
        one.control("start")
        try:
            yield one
        finally:
            one.control("-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
