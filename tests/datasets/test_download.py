"""Downloads from a local server: verified, resumed, refused."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from biocl.datasets.download import download_physionet
from biocl.errors import DataError

CONTENT = {"100.dat": bytes(range(256)) * 40, "100.hea": b"100 2 360\n", "sub/x": b"not at the top"}


class Server(ThreadingHTTPServer):
    """Serves `files` under /mitdb/1.0.0/, with ranges unless told otherwise, and notes what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(CONTENT)
        sums = [f"{hashlib.sha256(data).hexdigest()} {name}" for name, data in CONTENT.items()]
        self.files["SHA256SUMS.txt"] = "\n".join([*sums, f"{'0' * 64} ../../evil"]).encode()
        self.ranges = True
        self.asked: list[tuple[str, str | None]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.removeprefix("/mitdb/1.0.0/")
        wanted = self.headers.get("Range")
        self.server.asked.append((name, wanted))
        if name not in self.server.files:
            self.send_error(404)
            return
        data, start = self.server.files[name], 0
        if wanted and self.server.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(server: Server, folder: Path) -> None:
    download_physionet("mitdb/1.0.0", folder, f"http://127.0.0.1:{server.server_port}/")


def test_all_files_arrive_and_are_not_fetched_again(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path / "raw")
    assert {path.name for path in (tmp_path / "raw").iterdir()} == {"100.dat", "100.hea", "SHA256SUMS.txt"}
    assert (tmp_path / "raw" / "100.dat").read_bytes() == CONTENT["100.dat"]
    server.asked.clear()
    fetch(server, tmp_path / "raw")
    assert [name for name, _ in server.asked] == ["SHA256SUMS.txt"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_part_is_continued(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.ranges = ranges
    (tmp_path / "100.dat.part").write_bytes(CONTENT["100.dat"][:5000])
    fetch(server, tmp_path)
    assert ("100.dat", "bytes=5000-") in server.asked
    assert (tmp_path / "100.dat").read_bytes() == CONTENT["100.dat"]
    assert not list(tmp_path.glob("*.part"))


def test_a_wrong_or_overlong_part_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "100.dat.part").write_bytes(b"wrong" * 10)
    (tmp_path / "100.hea.part").write_bytes(b"far too long for this file")
    fetch(server, tmp_path)
    assert (tmp_path / "100.dat").read_bytes() == CONTENT["100.dat"]
    assert (tmp_path / "100.hea").read_bytes() == CONTENT["100.hea"]


def test_a_wrong_file_is_refused(server: Server, tmp_path: Path) -> None:
    server.files["100.dat"] = b"tampered"
    with pytest.raises(DataError, match=r"does not match its SHA-256 sum, twice.*100\.dat"):
        fetch(server, tmp_path)
    assert not (tmp_path / "100.dat").exists()


def test_a_silent_server(tmp_path: Path, server: Server) -> None:
    with pytest.raises(DataError, match="download failed"):
        download_physionet("other/1.0", tmp_path, f"http://127.0.0.1:{server.server_port}/")
    with pytest.raises(DataError, match="download failed"):
        download_physionet("mitdb/1.0.0", tmp_path, "http://127.0.0.1:9/")
