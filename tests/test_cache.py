import contextlib
import hashlib
import io
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from degradations import InputError
from study.files import cache
from study.files.cache import PublicFile, obtain, present

CONTENT = bytes(range(256)) * 20_000  # several blocks
SHA = hashlib.sha256(CONTENT).hexdigest()
FILE = PublicFile("net.pt", "https://example.org/net.pt", SHA, len(CONTENT), "a net")
UNPUBLISHED = replace(FILE, sha256=None, size=None)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Puts a server of some content in the network's place; gives the list of the addresses that
    are asked for."""

    def start(
        content: bytes = CONTENT,
        fail: BaseException | None = None,
        wait: float = 0,
        length: bool = True,
    ) -> Any:
        asked: list[str] = []

        @contextlib.contextmanager
        def opened(address: str) -> Iterator[Any]:
            asked.append(address)
            body = io.BytesIO(content)

            def read(size: int) -> bytes:
                if fail is not None and body.tell() > 0:
                    raise fail
                time.sleep(wait)
                return body.read(size)

            yield SimpleNamespace(
                read=read, headers={"Content-Length": str(len(CONTENT))} if length else {}
            )

        monkeypatch.setattr(cache, "_open", opened)
        return asked

    return start


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name != ".net.pt.lock"]


def test_a_file_is_downloaded_once(serve: Any, tmp_path: Path) -> None:
    asked = serve()
    assert not present(FILE, tmp_path / "cache")
    for _ in range(2):
        assert obtain(FILE, tmp_path / "cache").read_bytes() == CONTENT
    assert asked == [FILE.address]
    assert present(FILE, tmp_path / "cache")
    assert sorted(left(tmp_path / "cache")) == ["net.pt", "net.pt.sha256"]


def test_two_that_want_it_download_once(serve: Any, tmp_path: Path) -> None:
    asked, found = serve(wait=0.02), []
    threads = [
        threading.Thread(target=lambda: found.append(obtain(FILE, tmp_path))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 1
    assert found == [tmp_path / "net.pt"] * 4


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (CONTENT[:-1], f"{len(CONTENT) - 1} bytes received"),
        (CONTENT + b"x", "more bytes received"),
        (b"x" + CONTENT[1:], "the download has SHA-256"),
    ],
)
def test_what_comes_damaged_is_not_kept(
    serve: Any, tmp_path: Path, content: bytes, says: str
) -> None:
    serve(content)
    with pytest.raises(InputError, match=says):
        obtain(FILE, tmp_path)
    assert left(tmp_path) == []


def test_an_interrupted_download_leaves_nothing(serve: Any, tmp_path: Path) -> None:
    serve(fail=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        obtain(FILE, tmp_path)
    assert left(tmp_path) == []


def test_a_length_that_only_the_server_says_is_checked(serve: Any, tmp_path: Path) -> None:
    serve(CONTENT[:1000])
    with pytest.raises(InputError, match=f"1000 bytes received, not {len(CONTENT)}"):
        obtain(UNPUBLISHED, tmp_path)
    serve(CONTENT[:1000], length=False)
    assert obtain(UNPUBLISHED, tmp_path).stat().st_size == 1000


@pytest.mark.parametrize("error", [urllib.error.URLError("no network"), TimeoutError("no network")])
def test_what_cannot_be_had_is_put_there_by_hand(
    monkeypatch: Any, tmp_path: Path, error: Exception
) -> None:
    def fail(address: str) -> Any:
        raise error

    monkeypatch.setattr(cache, "_open", fail)
    with pytest.raises(InputError) as rejected:
        obtain(FILE, tmp_path / "cache")
    for text in (
        "a net",
        FILE.address,
        SHA,
        str(len(CONTENT)),
        str(tmp_path / "cache"),
        "'net.pt'",
        "no network",
    ):
        assert text in str(rejected.value)
    with pytest.raises(InputError, match="none is published"):
        obtain(UNPUBLISHED, tmp_path / "cache")
    (tmp_path / "cache" / "net.pt").write_bytes(CONTENT)
    assert obtain(FILE, tmp_path / "cache").is_file()


def test_a_full_disk_is_seen_before(serve: Any, monkeypatch: Any, tmp_path: Path) -> None:
    serve()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=len(CONTENT)))
    with pytest.raises(InputError, match=f"{len(CONTENT)} are free"):
        obtain(FILE, tmp_path)
    assert left(tmp_path) == []


def test_a_damaged_file_is_rejected_with_both_hashes(tmp_path: Path) -> None:
    damaged = b"x" + CONTENT[1:]
    (tmp_path / "net.pt").write_bytes(damaged)
    with pytest.raises(InputError) as rejected:
        obtain(FILE, tmp_path)
    assert SHA in str(rejected.value)
    assert hashlib.sha256(damaged).hexdigest() in str(rejected.value)
    (tmp_path / "net.pt").write_bytes(b"short")
    with pytest.raises(InputError, match="5 bytes"):
        obtain(FILE, tmp_path)
    assert not present(FILE, tmp_path)


def test_a_hash_is_computed_again_only_of_a_changed_file(monkeypatch: Any, tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(CONTENT)
    computed, sha256 = [], cache.sha256
    monkeypatch.setattr(cache, "sha256", lambda path: computed.append(path) or sha256(path))
    obtain(FILE, tmp_path)
    obtain(FILE, tmp_path)
    assert len(computed) == 1
    (tmp_path / "net.pt").write_bytes(CONTENT)
    obtain(FILE, tmp_path)
    assert len(computed) == 2
    # a note of another hash does not vouch for this one
    with pytest.raises(InputError, match="damaged"):
        obtain(replace(FILE, sha256="0" * 64), tmp_path)
    (tmp_path / "net.pt").write_bytes(b"x" + CONTENT[1:])
    with pytest.raises(InputError, match="damaged"):
        obtain(FILE, tmp_path)


def test_a_hash_that_is_not_published_is_that_of_the_first_use(
    serve: Any, tmp_path: Path, capsys: Any
) -> None:
    serve()
    obtain(UNPUBLISHED, tmp_path)
    assert f"must be {SHA}" in capsys.readouterr().err
    obtain(UNPUBLISHED, tmp_path)
    assert capsys.readouterr().err == ""
    (tmp_path / "net.pt").write_bytes(b"another")
    with pytest.raises(InputError, match="first use") as rejected:
        obtain(UNPUBLISHED, tmp_path)
    assert SHA in str(rejected.value)
    assert hashlib.sha256(b"another").hexdigest() in str(rejected.value)
    (tmp_path / "net.pt.sha256").write_text("{}")
    with pytest.raises(InputError, match="remove it"):
        obtain(UNPUBLISHED, tmp_path)


def test_a_cache_that_only_others_may_write_is_read(monkeypatch: Any, tmp_path: Path) -> None:
    def fail(path: Path, text: str) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "net.pt").write_bytes(CONTENT)
    monkeypatch.setattr(cache, "write_text", fail)
    assert obtain(FILE, tmp_path) == tmp_path / "net.pt"
    with pytest.raises(InputError, match="cannot be recorded"):
        obtain(UNPUBLISHED, tmp_path)


def test_only_https_and_plain_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="accepted: https"):
        replace(FILE, address="http://example.org/net.pt")
    for name in ("../net.pt", "a/net.pt", "/net.pt", ".net", ""):
        with pytest.raises(InputError, match="plain file name"):
            replace(FILE, name=name)
    request = urllib.request.Request(FILE.address)
    to = cache._OnlyHttps().redirect_request
    with pytest.raises(urllib.error.URLError, match="not https"):
        to(request, None, 302, "", {}, "http://example.org/net.pt")
    assert (
        to(request, None, 302, "", {}, "https://other.org/net.pt").full_url
        == "https://other.org/net.pt"
    )
