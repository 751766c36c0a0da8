"""Downloads from a local server that behaves as badly as it is told to: verified, resumed, refused."""

from __future__ import annotations

import hashlib
import io
import json
import resource
import ssl
import subprocess
import sys
import threading
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from biocl.datasets import transfer
from biocl.datasets.download import Remote, download_files, download_physionet, parse_sums, uci
from biocl.errors import DataError

CONTENT = {
    "100.dat": bytes(range(256)) * 40,
    "100.hea": b"100 2 360\n",
    "records100/00000/00001_lr.dat": b"in a folder" * 30,
    "odd name+.txt": b"quoted",
}
ROOT = "mitdb/1.0.0/"


class Server(ThreadingHTTPServer):
    """Serves `files` by path, with ranges unless told otherwise, and notes what was asked."""

    daemon_threads = True

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(files)
        self.ranges = True  # answers Range with a piece
        self.lengths = True  # says how long the answer is
        self.tags = True  # says which version of a file it is (ETag)
        self.shift = 0  # sends a piece that begins so much later than asked
        self.breaks: list[int] = []  # the next answers end after so many bytes
        self.redirect: dict[str, str] = {}
        self.asked: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def tag(self, name: str) -> str:
        return f'"{hashlib.sha256(self.files[name]).hexdigest()[:16]}"'


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        server, name = self.server, unquote(self.path.removeprefix("/"))
        wanted = self.headers.get("Range")
        server.asked.append((name, wanted))
        if name in server.redirect:
            self.send_response(302)
            self.send_header("Location", server.redirect[name])
            self.end_headers()
            return
        if name not in server.files:
            self.send_error(404)
            return
        data, start = server.files[name], 0
        condition = self.headers.get("If-Range")
        if wanted and server.ranges and condition in (None, server.tag(name)):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start + server.shift}-{len(data) - 1}/{len(data)}")
        if server.lengths:
            self.send_header("Content-Length", str(len(data) - start))
        if server.tags:
            self.send_header("ETag", server.tag(name))
        self.end_headers()
        piece = data[start:]
        if server.breaks and (limit := server.breaks.pop(0)) < len(piece):
            piece = piece[:limit]
        self.wfile.write(piece)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    sums = [f"{hashlib.sha256(data).hexdigest()} {name}" for name, data in CONTENT.items()]
    files = {ROOT + name: data for name, data in CONTENT.items()}
    with Server({**files, ROOT + "SHA256SUMS.txt": "\n".join(sums).encode()}) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(server: Server, folder: Path, *only: str) -> None:
    download_physionet("mitdb/1.0.0", folder, server.url, only=only or ("*",))


def asked(server: Server) -> list[str]:
    return [name.removeprefix(ROOT) for name, _ in server.asked]


def files_below(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ------------------------------------------------------------------------------------------------- with a list


def test_all_files_arrive_and_are_not_fetched_again(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path / "raw")
    found = files_below(tmp_path / "raw")
    assert found.pop("SHA256SUMS.txt") == server.files[ROOT + "SHA256SUMS.txt"]
    assert found == CONTENT
    server.asked.clear()
    fetch(server, tmp_path / "raw")
    assert asked(server) == ["SHA256SUMS.txt"]


def test_only_what_is_wanted_is_fetched(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path, "records100/*", "*.hea")
    assert set(files_below(tmp_path)) == {"100.hea", "records100/00000/00001_lr.dat", "SHA256SUMS.txt"}
    with pytest.raises(DataError, match="None of the 4 files"):
        fetch(server, tmp_path, "records500/*")


@pytest.mark.parametrize("ranges", [True, False])
def test_a_part_is_continued(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.ranges = ranges
    (tmp_path / "100.dat.part").write_bytes(CONTENT["100.dat"][:5000])
    fetch(server, tmp_path)
    assert (ROOT + "100.dat", "bytes=5000-") in server.asked
    assert (tmp_path / "100.dat").read_bytes() == CONTENT["100.dat"]
    assert not [*tmp_path.rglob("*.part"), *tmp_path.rglob("*.tag")]


def test_an_interrupted_transfer_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    server.breaks = [10**9, 3000, 2000]
    fetch(server, tmp_path)
    ranges = [wanted for name, wanted in server.asked if name == ROOT + "100.dat"]
    assert ranges == [None, "bytes=3000-", "bytes=5000-"]
    assert (tmp_path / "100.dat").read_bytes() == CONTENT["100.dat"]


def test_a_line_that_always_breaks_keeps_what_came(server: Server, tmp_path: Path) -> None:
    server.breaks = [10**9, *[100] * 4]
    with pytest.raises(DataError, match=r"broke off 4 times.*the rest continues"):
        fetch(server, tmp_path)
    assert (tmp_path / "100.dat.part").read_bytes() == CONTENT["100.dat"][:400]
    fetch(server, tmp_path)
    assert (tmp_path / "100.dat").read_bytes() == CONTENT["100.dat"]


def test_a_piece_from_another_place_is_not_appended(server: Server, tmp_path: Path) -> None:
    server.shift = 7
    (tmp_path / "100.dat.part").write_bytes(CONTENT["100.dat"][:5000])
    with pytest.raises(DataError, match="another piece"):
        fetch(server, tmp_path)
    assert (tmp_path / "100.dat.part").stat().st_size == 5000


def test_a_wrong_or_overlong_part_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "100.dat.part").write_bytes(b"wrong" * 10)
    (tmp_path / "100.hea.part").write_bytes(b"far too long for this file")
    fetch(server, tmp_path)
    assert (tmp_path / "100.dat").read_bytes() == CONTENT["100.dat"]
    assert (tmp_path / "100.hea").read_bytes() == CONTENT["100.hea"]


def test_a_wrong_file_is_refused(server: Server, tmp_path: Path) -> None:
    server.files[ROOT + "100.dat"] = b"tampered"
    with pytest.raises(DataError, match=r"does not match its SHA-256 sum, twice.*100\.dat"):
        fetch(server, tmp_path)
    assert asked(server).count("100.dat") == 2
    assert not list(tmp_path.glob("100.dat*"))


def test_a_file_that_is_gone_and_a_silent_server(server: Server, tmp_path: Path) -> None:
    del server.files[ROOT + "100.hea"]
    with pytest.raises(DataError, match=r"404.*100\.hea"):
        fetch(server, tmp_path)
    with pytest.raises(DataError, match="download failed"):
        download_physionet("other/1.0", tmp_path, server.url)
    with pytest.raises(DataError, match="download failed"):
        download_physionet("mitdb/1.0.0", tmp_path, "http://127.0.0.1:9/")


def test_a_full_disk_is_said_and_the_rest_continues(server: Server, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(DataError, match="disk is full"):
            fetch(server, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "100.dat").exists()
    fetch(server, tmp_path)
    assert (tmp_path / "100.dat").read_bytes() == CONTENT["100.dat"]


@pytest.mark.parametrize(
    "path", ["../evil", "a/../../evil", "/etc/evil", "a//b", "./../x", "a\\..\\b", "C:/x", "a\x01b"]
)
def test_a_list_that_leaves_the_folder_is_refused(path: str, server: Server, tmp_path: Path) -> None:
    server.files[ROOT + "SHA256SUMS.txt"] += f"\n{'0' * 64} {path}".encode()
    with pytest.raises(DataError, match="not a plain path below a folder"):
        fetch(server, tmp_path / "raw")
    assert not files_below(tmp_path)


@pytest.mark.parametrize("text", ["", "<html>no such page</html>", "abc  file\n", f"{'z' * 64} file"])
def test_a_list_that_is_none(text: str) -> None:
    with pytest.raises(DataError, match="not a list"):
        parse_sums(text, "here")


def test_lists_are_read_in_both_styles() -> None:
    one, two = "A" * 64, "b" * 64
    assert parse_sums(f"{one} x.dat\n{two} *./sub/y z.dat\n{two} SHA256SUMS.txt\n", "here") == {
        "x.dat": "a" * 64,
        "sub/y z.dat": "b" * 64,
    }


# ------------------------------------------------------------------------------------------------ single files


def remote(server: Server, path: str, **keys: object) -> Remote:
    return Remote(server.url + ROOT + path, **keys)  # type: ignore[arg-type]


def test_single_files_with_and_without_a_sum(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = hashlib.sha256(CONTENT["100.dat"]).hexdigest()
    both = [remote(server, "100.dat", sha256=data), remote(server, "100.hea", name="sub/head")]
    download_files(both, tmp_path)
    assert files_below(tmp_path) == {"100.dat": CONTENT["100.dat"], "sub/head": CONTENT["100.hea"]}
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"100.dat: verified; SHA-256 {data}",
        f"sub/head: unverified, its source states no sum; SHA-256 {hashlib.sha256(CONTENT['100.hea']).hexdigest()}",
    ]
    server.asked.clear()
    download_files(both, tmp_path)
    assert server.asked == []
    (tmp_path / "100.dat").write_bytes(b"edited")
    download_files(both, tmp_path)
    assert (tmp_path / "100.dat").read_bytes() == CONTENT["100.dat"]
    assert asked(server) == ["100.dat"]
    with pytest.raises(DataError, match="does not match"):
        download_files([remote(server, "100.hea", sha256="0" * 64)], tmp_path)
    with pytest.raises(DataError, match="not a plain path"):
        download_files([remote(server, "100.hea", name="../head")], tmp_path)


@pytest.mark.parametrize("tags", [True, False])
def test_without_a_sum_a_part_is_continued_only_if_the_server_vouches_for_it(
    server: Server, tmp_path: Path, tags: bool
) -> None:
    server.tags = tags
    server.breaks = [100] * 4
    with pytest.raises(DataError, match="broke off"):
        download_files([remote(server, "100.dat")], tmp_path)
    server.files[ROOT + "100.dat"] = bytes(reversed(CONTENT["100.dat"]))  # another edition under the same name
    download_files([remote(server, "100.dat")], tmp_path)
    assert files_below(tmp_path) == {"100.dat": bytes(reversed(CONTENT["100.dat"]))}
    server.breaks = [3000]
    download_files([remote(server, "100.dat", name="again.dat")], tmp_path)
    assert (server.asked[-1][1] == "bytes=3000-") == tags
    assert (tmp_path / "again.dat").read_bytes() == (tmp_path / "100.dat").read_bytes()


def test_a_server_that_says_no_length(server: Server, tmp_path: Path) -> None:
    server.lengths = False
    download_files([remote(server, "100.dat")], tmp_path)
    assert (tmp_path / "100.dat").read_bytes() == CONTENT["100.dat"]


def zipped(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def test_an_archive_is_unpacked_once(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inner = zipped({"UCI HAR Dataset/train/X.txt": b"1 2 3", "UCI HAR Dataset/README.txt": b"read"})
    server.files[ROOT + "har.zip"] = zipped({"UCI HAR Dataset.zip": inner, "names.txt": b"names"})
    wanted = [remote(server, "har.zip", unpack=("*",))]
    download_files(wanted, tmp_path)
    found = files_below(tmp_path)
    note = json.loads(found.pop("har.zip.unpacked"))
    assert set(found) == {"UCI HAR Dataset/train/X.txt", "UCI HAR Dataset/README.txt", "names.txt"}
    assert note["sha256"] == hashlib.sha256(server.files[ROOT + "har.zip"]).hexdigest()
    assert not note["verified"]
    assert "unverified" in capsys.readouterr().err
    server.asked.clear()
    download_files(wanted, tmp_path)
    assert server.asked == []
    (tmp_path / "names.txt").unlink()
    download_files(wanted, tmp_path)
    assert asked(server) == ["har.zip"]
    assert (tmp_path / "names.txt").read_bytes() == b"names"


# --------------------------------------------------------------------------------------------------------- TLS


@pytest.mark.parametrize(
    "url", ["http://example.org/x", "ftp://example.org/x", "file:///etc/hostname", "x", "http://localhost.evil.org/"]
)
def test_only_tls_is_used_except_to_this_machine(url: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not https"):
        download_files([Remote(url, name="x")], tmp_path)
    with pytest.raises(DataError, match="not https"):
        transfer.fetch_text(url)
    for allowed in ("https://example.org/x", "http://127.0.0.1:80/x", "http://localhost/x"):
        transfer.check_url(allowed)
    transfer.check_url("https://example.org/x", local=False)
    with pytest.raises(DataError, match="not https"):
        transfer.check_url("http://127.0.0.1/x", local=False)


def test_a_redirect_to_a_plain_address_is_not_followed(server: Server, tmp_path: Path) -> None:
    server.redirect[ROOT + "100.dat"] = "http://example.org/100.dat"
    with pytest.raises(DataError, match=r"not https.*example\.org"):
        download_files([remote(server, "100.dat")], tmp_path)
    server.redirect[ROOT + "100.dat"] = server.url + ROOT + "100.hea"
    download_files([remote(server, "100.dat")], tmp_path)
    assert (tmp_path / "100.dat").read_bytes() == CONTENT["100.hea"]


def test_from_tls_no_redirect_leads_to_a_plain_address() -> None:
    for target in ("http://127.0.0.1/x", "http://example.org/x", "file:///etc/hostname"):
        request = urllib.request.Request("https://example.org/x")
        with pytest.raises(DataError, match="not https"):
            transfer.Guarded().redirect_request(request, None, 302, "Found", {}, target)
        redirected = transfer.Guarded().redirect_request(request, None, 302, "Found", {}, "https://example.org/y")
        assert redirected.full_url == "https://example.org/y"


def test_certificates_are_checked() -> None:
    """The context that the opener builds for https is the one that verifies."""
    context = ssl._create_default_https_context()
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_server_with_a_certificate_of_its_own_is_refused(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(
        [*words.split(), "-days", "2", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Server({"x": b"secret"}) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            with pytest.raises(DataError, match="CERTIFICATE_VERIFY_FAILED"):
                download_files([Remote(f"https://localhost:{server.server_port}/x")], tmp_path / "raw")
        finally:
            server.shutdown()
            thread.join()
    assert files_below(tmp_path / "raw") == {}


# ---------------------------------------------------------------------------------------------------- manners


def test_nothing_is_fetched_at_import() -> None:
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise SystemExit('connects at import')\n"
        "socket.socket.connect = socket.create_connection = refuse\n"
        "from biocl.datasets.registry import DATASETS, find_dataset\n"
        "[find_dataset(name) for name in DATASETS]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_terminal_sees_a_line_for_each_file(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(server, tmp_path / "quiet")
    assert capsys.readouterr().err == "mitdb/1.0.0: 4 files, each as its source's SHA256SUMS.txt says\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fetch(server, tmp_path / "seen")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines if "MB" in line] == [
        "100.dat (1 of 4)",
        "100.hea (2 of 4)",
        "records100/00000/00001_lr.dat (3 of 4)",
        "odd name+.txt (4 of 4)",
    ]


def test_an_archive_of_the_uci_repository() -> None:
    found = uci(319, "mhealth+dataset", only=["MHEALTHDATASET/*"])
    assert found.url == "https://archive.ics.uci.edu/static/public/319/mhealth+dataset.zip"
    assert found.place == "mhealth+dataset.zip"
    assert found.sha256 is None
    assert found.unpack == ("MHEALTHDATASET/*",)
