"""Public files by name: downloaded once into a folder, and verified by SHA-256 at every use."""

import http.client
import json
import shutil
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from degradations import InputError
from study.files.atomic import replacing, sha256, write_text
from study.files.lock import locked

BLOCK, TIMEOUT = 2**20, 30
SPARE = 2**28  # bytes that a download leaves free on the disk


@dataclass(frozen=True)
class PublicFile:
    """A file that others publish.

    Args:
        name: its name in the cache, without a folder
        address: where it is downloaded from, https
        sha256: its published SHA-256; None: none is published, and the hash at its first use here
            is required from then on
        size: in bytes; None if not published
        card: what it is, for messages

    Raises InputError if the address is not https or the name contains a folder.
    """

    name: str
    address: str
    sha256: str | None
    size: int | None
    card: str

    def __post_init__(self) -> None:
        if not self.address.startswith("https://"):
            raise InputError(f"{self.card}: found address '{self.address}'; accepted: https.")
        if not self.name or self.name.startswith(".") or Path(self.name).name != self.name:
            raise InputError(f"{self.card}: found name '{self.name}'; accepted: a plain file name.")


def present(file: PublicFile, cache: Path) -> bool:
    """Whether the cache has a file of this name and size; its hash is checked by `obtain`."""
    path = cache / file.name
    return path.is_file() and file.size in (None, path.stat().st_size)


def obtain(file: PublicFile, cache: Path) -> Path:
    """The file in the cache folder, downloaded if it is missing, its size and SHA-256 checked.

    If two processes need it, one downloads and the other waits. The hash is computed again only if
    the file's size or modification time has changed. Raises InputError if the file is damaged, is
    another file, or cannot be downloaded; the message says where to put it by hand.
    """
    path = cache / file.name
    if not path.is_file():
        try:
            with locked(cache / f".{file.name}.lock"):
                if not path.is_file():  # another process may have downloaded it meanwhile
                    _download(file, path)
        except (OSError, http.client.HTTPException) as error:
            raise InputError(_by_hand(file, cache, str(error) or type(error).__name__)) from None
    _check(file, path)
    return path


def _download(file: PublicFile, path: Path) -> None:
    with _open(file.address) as answer, replacing(path) as part:
        length = answer.headers.get("Content-Length")
        size = (
            file.size
            if file.size is not None
            else int(length)
            if (length or "").isdigit()
            else None
        )
        free = shutil.disk_usage(path.parent).free
        if free < (size or 0) + SPARE:
            raise OSError(
                f"{size or 'some'} bytes and {SPARE} to spare are needed, {free} are free"
            )
        print(
            f"Downloading {file.card} ({size or 'unknown'} bytes) from {file.address}",
            file=sys.stderr,
        )
        received = 0
        with part.open("wb") as out:
            while block := answer.read(BLOCK):
                received += len(block)
                if size is not None and received > size:
                    break
                out.write(block)
        if size is not None and received != size:
            raise OSError(f"{'more' if received > size else received} bytes received, not {size}")
        if file.sha256 is not None and (found := sha256(part)) != file.sha256:
            raise OSError(f"the download has SHA-256 {found}")


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        if not newurl.startswith("https://"):
            raise urllib.error.URLError(f"redirected to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(address: str) -> Any:
    return urllib.request.build_opener(_OnlyHttps).open(address, timeout=TIMEOUT)


def _by_hand(file: PublicFile, cache: Path, why: str) -> str:
    return (
        f"{file.card}: '{file.name}' is not in {cache.resolve()} and could not be downloaded "
        f"({why}). Download {file.address} elsewhere (SHA-256 "
        f"{file.sha256 or 'none is published'}, {'unknown' if file.size is None else file.size} "
        f"bytes) and put it into {cache.resolve()} as '{file.name}'."
    )


def _check(file: PublicFile, path: Path) -> None:
    """Raises InputError if a file's size or hash is not as published.

    Without a published hash, that of the first use is required.
    """
    stat, note = path.stat(), path.with_name(f"{path.name}.sha256")
    if file.size is not None and stat.st_size != file.size:
        raise InputError(
            f"{path}: {stat.st_size} bytes, {file.card} has {file.size}: damaged, or another file."
        )
    noted = _read(note)
    wanted = file.sha256 or noted.get("sha256")
    now = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    if wanted is not None and noted == {"sha256": wanted, **now}:
        return
    found = sha256(path)
    if wanted is not None and found != wanted:
        source = "its published one" if file.sha256 else f"that of its first use, in {note.name},"
        raise InputError(
            f"{path}: {file.card}: found SHA-256 {found}, {source} is {wanted}: damaged, or "
            "another file."
        )
    if wanted is None:
        print(
            f"{path}: no SHA-256 of {file.card} is published; from now on it must be {found}.",
            file=sys.stderr,
        )
    try:
        write_text(note, json.dumps({"sha256": found, **now}) + "\n")
    except OSError as error:  # a shared cache without write permission
        if wanted is None:
            raise InputError(
                f"{note}: the hash of {file.card} cannot be recorded ({error})."
            ) from None


def _read(note: Path) -> dict[str, Any]:
    if not note.exists():
        return {}
    try:
        with note.open(encoding="utf-8") as text:
            found = json.loads(_limited(text))
        if not isinstance(found, dict) or not isinstance(found.get("sha256"), str):
            raise ValueError("no SHA-256 in it")
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{note}: not a record of a file's SHA-256 ({error}); remove it to trust the file."
        ) from None
    return found


def _limited(text: IO[str]) -> str:
    return text.read(4096)
