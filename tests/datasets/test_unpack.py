"""Archives: nothing outside the folder, no links, no bombs, archives in archives."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biocl.datasets.unpack import still_unpacked, unpack
from biocl.errors import DataError

FILES = {"a/one.txt": b"one" * 500, "two.txt": b"two", "__MACOSX/._two.txt": b"junk"}


def zipped(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def tarred(
    members: Mapping[str, bytes], links: Mapping[str, str] | None = None, kind: bytes = tarfile.SYMTYPE
) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return stream.getvalue()


def placed(folder: Path, data: bytes, name: str = "set.zip") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


def files_below(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("make", [zipped, tarred])
def test_members_are_placed_and_the_archive_is_gone(make: Callable[..., bytes], tmp_path: Path) -> None:
    archive = placed(tmp_path / "raw", make(FILES))
    assert not still_unpacked(archive)
    assert unpack(archive, ("*",), {"url": "x"}) == ["a/one.txt", "two.txt"]
    assert files_below(tmp_path / "raw") == {"a/one.txt", "two.txt", "set.zip.unpacked"}
    assert (tmp_path / "raw/a/one.txt").read_bytes() == FILES["a/one.txt"]
    assert still_unpacked(archive)
    (tmp_path / "raw/a/one.txt").write_bytes(b"cut")
    assert not still_unpacked(archive)


def test_only_what_is_wanted(tmp_path: Path) -> None:
    archive = placed(tmp_path, zipped(FILES))
    assert unpack(archive, ("a/*",)) == ["a/one.txt"]
    with pytest.raises(DataError, match="none of the files"):
        unpack(placed(tmp_path, zipped(FILES)), ("b/*",))


def test_the_content_of_a_folder_is_placed_at_the_top(tmp_path: Path) -> None:
    archive = placed(tmp_path / "raw", zipped({"SET/one.log": b"1", "SET/sub/two": b"2", "SETTLED/three": b"3"}))
    assert unpack(archive, inside="SET") == ["SETTLED/three", "one.log", "sub/two"]
    with pytest.raises(DataError, match="not a plain path"):
        unpack(placed(tmp_path / "raw", zipped({"SET//etc/evil": b"1"})), inside="SET")


def test_archives_in_archives(tmp_path: Path) -> None:
    inner = tarred({"co2a364/x.rd.000.gz": b"\x1f\x8b gzip, not an archive"})
    middle = tarred({"TRAIN/co2a364.tar.gz": inner, "TRAIN/readme": b"r"})
    archive = placed(tmp_path, zipped({"TRAIN.tar.gz": middle, "TEST.tar.gz": middle}))
    assert unpack(archive, ("TRAIN*",)) == ["TRAIN/co2a364/x.rd.000.gz", "TRAIN/readme"]


BAD_PATHS = ["../evil", "a/../../evil", "/tmp/evil", "a//b", "..", "a\\..\\..\\evil", "C:/evil", "a/\x07"]


@pytest.mark.parametrize("path", BAD_PATHS)
@pytest.mark.parametrize("make", [zipped, tarred])
def test_a_path_that_leaves_the_folder(make: Callable[..., bytes], path: str, tmp_path: Path) -> None:
    if make is tarred and path == "..":
        path = "x/.."
    archive = placed(tmp_path / "raw", make({"good": b"1", path: b"evil"}))
    with pytest.raises(DataError, match="not a plain path below a folder"):
        unpack(archive)
    assert files_below(tmp_path) == {"raw/set.zip"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
@pytest.mark.parametrize("target", ["../..", "/etc/passwd", "one"])
def test_links_and_devices_are_refused(kind: bytes, target: str, tmp_path: Path) -> None:
    archive = placed(tmp_path / "raw", tarred({"one": b"1"}, {"link": target}, kind))
    with pytest.raises(DataError, match="holds a link"):
        unpack(archive)
    assert files_below(tmp_path) == {"raw/set.zip"}


def test_a_link_in_a_zip_file_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, "../..")
    with pytest.raises(DataError, match="holds a link"):
        unpack(placed(tmp_path, stream.getvalue()))


def test_a_folder_that_already_leads_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "raw" / "a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="leads out"):
        unpack(placed(tmp_path / "raw", zipped(FILES)))
    assert files_below(tmp_path / "elsewhere") == set()


def test_more_than_is_allowed(tmp_path: Path) -> None:
    bomb = zipped({"zeros": bytes(10_000_000)})
    assert len(bomb) < 20_000
    with pytest.raises(DataError, match="more than biocl allows"):
        unpack(placed(tmp_path, bomb), most_bytes=1_000_000)
    assert files_below(tmp_path) == {"set.zip"}
    with pytest.raises(DataError, match="more than biocl allows"):
        unpack(placed(tmp_path, zipped({"inner.zip": bomb})), most_bytes=1_000_000)
    with pytest.raises(DataError, match="more than biocl allows"):
        unpack(placed(tmp_path, zipped({f"{i}": b"" for i in range(20)})), most_members=10)


@pytest.mark.parametrize("data", [b"", b"<html>Not Found</html>", b"PK\x03\x04 broken"])
def test_what_is_no_archive(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not an archive"):
        unpack(placed(tmp_path, data))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_archive_is_read_rightly_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    make = data.draw(st.sampled_from([zipped, tarred]))
    whole = make({name: FILES[name] for name in ("a/one.txt", "two.txt")})
    mutated = bytearray(whole[: data.draw(st.integers(1, len(whole)))])
    for _ in range(data.draw(st.integers(0, 3))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path / "raw"
    archive = placed(folder, bytes(mutated))
    try:
        found = unpack(archive)
    except DataError:
        found = []
    outside = files_below(tmp_path) - {f"raw/{name}" for name in files_below(folder)}
    assert not outside
    for name in set(found) & {"a/one.txt", "two.txt"}:
        content = (folder / name).read_bytes()
        assert content == FILES[name] or make is tarred  # a tar has no sums of its members
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
