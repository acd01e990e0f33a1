"""Folders in diffusers' format, untrusted: settings in JSON, weights in safetensors, no code."""

import hashlib
import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from degradations import InputError
from study.files.lock import locked
from study.files.regular import check_regular
from study.files.safetensors_file import open_safetensors
from study.files.tensors import is_finite
from study.models.optional import optional

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
# the files that are downloaded
PATTERNS = ["*.json", f"*{WEIGHTS}", "*diffusion_pytorch_model-*-of-*.safetensors"]
MOST_JSON_BYTES = 16 * 2**20
MOST = 2**16  # the largest number in a network's settings
MOST_BLOCKS = 512
# entries of tables that a network computes; its weights are bounded by their file
MOST_TABLE = 2**28

# The names of an attention's projections in files of older versions of diffusers, and now.
_OLD = re.compile(r"(attentions\.\d+)\.(query|key|value|proj_attn)\.(weight|bias)$")
_NEW = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


@dataclass(frozen=True)
class Config:
    """The entries of a JSON file."""

    path: Path
    entries: Mapping[str, Any]

    def choice(self, key: str, accepted: Collection[str], default: str | None = None) -> str:
        """An entry that is one of the accepted texts. Raises InputError if it is another."""
        found = self.entries.get(key, default)
        if not isinstance(found, str) or found not in accepted:
            self.reject(key, ", ".join(accepted))
        return found

    def whole(self, key: str, least: int = 1) -> int:
        """An entry that is a whole number, `least` or more. Raises InputError if it is not."""
        found = self.entries.get(key)
        if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= MOST:
            self.reject(key, f"a whole number from {least} to {MOST}")
        return found

    def number(self, key: str, default: float | None = None) -> float:
        """An entry that is a finite number. Raises InputError if it is not."""
        found = self.entries.get(key, default)
        if (
            not isinstance(found, int | float)
            or isinstance(found, bool)
            or not math.isfinite(found)
        ):
            self.reject(key, "a finite number")
        return float(found)

    def reject(self, key: str, accepted: str) -> NoReturn:
        """Raises InputError for an entry, with what is accepted instead."""
        found = f"found {json.dumps(self.entries[key])[:80]}" if key in self.entries else "missing"
        raise InputError(f"{self.path}: '{key}' {found}; accepted: {accepted}.")


def read_config(path: Path) -> Config:
    """The settings in a file.

    Raises InputError if it is missing, not a JSON object, or too large.
    """
    if path.exists():
        check_regular(path, MOST_JSON_BYTES)
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: missing; accepted: a folder that save_pretrained of a diffusers "
            "pipeline wrote, with unet/ or transformer/ and scheduler/."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error}).") from None
    if not isinstance(entries, dict):
        raise InputError(f"{path}: found {type(entries).__name__}; accepted: a JSON object.")
    return Config(path, entries)


def folder_of(place: str, cache: Path) -> Path:
    """The folder of a place: itself, or for `hub:org/name` cache/org/name, downloaded if missing.

    Only settings and safetensors are downloaded. Raises InputError, with the repository and the
    folder, if that fails.
    """
    if not place.startswith("hub:"):
        if not Path(place).is_dir():
            raise InputError(
                f"{place}: no such folder; accepted: a folder in diffusers' format, or "
                "hub:org/name."
            )
        return Path(place)
    name = repository(place)
    folder = cache / name
    if not folder.is_dir():
        with locked(folder.with_name(f".{folder.name}.lock")):
            if not folder.is_dir():  # another process may have downloaded it meanwhile
                _download(name, folder)
    return folder


def repository(place: str) -> str:
    """The repository org/name of a place hub:org/name. Raises InputError for another form."""
    name = place.removeprefix("hub:")
    if not re.fullmatch(r"[A-Za-z0-9][\w-]*/[A-Za-z0-9][\w.-]*", name, re.ASCII):
        raise InputError(f"{place}: accepted: hub:org/name, a repository of the Hugging Face hub.")
    return name


def _download(name: str, folder: Path) -> None:
    download = optional("huggingface_hub", "diffusers").snapshot_download
    # so that a folder of the right name is complete
    part = folder.with_name(f"{folder.name}.part")
    try:
        download(name, local_dir=part, allow_patterns=PATTERNS)
        part.rename(folder)
    except Exception as error:  # from the network, the hub or the disk, from several libraries
        raise InputError(
            f"hub:{name}: could not download the repository {name} ({_short(error)}). Without a "
            "connection, put its "
            f"files ({', '.join(PATTERNS)}, in its own subfolders) into {folder}."
        ) from None


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a network, one file or its shards.

    Raises InputError if there are none, or files of other kinds.
    """
    index = folder / f"{WEIGHTS}.index.json"
    names = {WEIGHTS}
    if index.is_file():
        shards = read_config(index).entries.get("weight_map")
        names = (
            set(map(str, shards.values())) if isinstance(shards, dict) and shards else {"no file"}
        )
    paths = []
    for name in sorted(names):
        if name != Path(name).name or not name.endswith(".safetensors"):
            raise InputError(
                f"{index}: names the file '{name}'; accepted: safetensors files of its own folder."
            )
        if not (folder / name).is_file():
            others = [
                path.name
                for path in folder.glob("*")
                if path.suffix in (".bin", ".safetensors", ".pt", ".ckpt")
            ]
            found = (
                f"found {', '.join(sorted(others)[:5])}" if others else "found no weights at all"
            )
            raise InputError(
                f"{folder / name}: missing, {found}; only safetensors of this name are read."
            )
        paths.append(folder / name)
    return paths


def load(make: Callable[[], nn.Module], config: Config, files: Sequence[Path]) -> nn.Module:
    """The network of settings with the weights of files, in float32 and evaluation mode.

    Raises InputError if the settings are too large or diffusers cannot build them, and if the
    weights are damaged, of another network, or not finite.
    """
    for key, entry in config.entries.items():
        most = MOST_BLOCKS if "layers" in key else MOST
        items = entry if isinstance(entry, list) else [entry]
        if len(items) > 64 or not all(abs(n) <= most for n in items if isinstance(n, int | float)):
            config.reject(key, f"at most {most}, and at most 64 in a list")
    lists = [len(entry) for entry in config.entries.values() if isinstance(entry, list)]
    layers = [
        n
        for key, entry in config.entries.items()
        if "layers" in key
        for n in (entry if isinstance(entry, list) else [entry])
        if isinstance(n, int)
    ]
    if max(layers, default=1) * max(lists, default=1) > MOST_BLOCKS:
        raise InputError(
            f"{config.path}: {max(layers)} layers in up to {max(lists)} blocks; accepted: at "
            f"most {MOST_BLOCKS} in total."
        )
    with torch.device("meta"):  # without memory, to compare its size with the file first
        skeleton = _made(make, config)
    if sum(buffer.numel() for buffer in skeleton.buffers()) > MOST_TABLE:
        raise InputError(f"{config.path}: its tables have more than {MOST_TABLE} entries.")
    _compare(files, {name: tuple(tensor.shape) for name, tensor in skeleton.state_dict().items()})
    for _ in _tensors(files):  # raises InputError for entries that are not finite
        pass
    module = _made(make, config).eval().requires_grad_(False)
    state = module.state_dict()
    # one by one, which takes only the memory of the file and of the network
    for name, tensor in _tensors(files):
        state[name].copy_(tensor)
    return module


def _made(make: Callable[[], nn.Module], config: Config) -> nn.Module:
    try:
        return make()
    # whatever its constructors raise for settings that do not fit together
    except Exception as error:
        raise InputError(
            f"{config.path}: diffusers cannot build this network ({_short(error)})."
        ) from None


def _compare(files: Sequence[Path], wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Raises InputError if the headers of the files list other tensors than `wanted`."""
    found: dict[str, tuple[int, ...]] = {}
    for path in files:
        with open_safetensors(path) as file:
            for name in file.keys():  # noqa: SIM118  # not a mapping
                found[_new_name(name)] = tuple(file.get_slice(name).get_shape())
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            have, want = (f"shape {s[name]}" if name in s else "none" for s in (found, wanted))
            raise InputError(
                f"{files[0]}: the tensor '{name}': found {have}; accepted by the network of its "
                f"{CONFIG}: {want}."
            )


def _tensors(files: Sequence[Path]) -> Iterator[tuple[str, Tensor]]:
    for path in files:
        with open_safetensors(path) as file:
            for name in file.keys():  # noqa: SIM118  # not a mapping
                stored = file.get_tensor(name)
                tensor = stored.float()
                if not stored.is_floating_point() or not is_finite(tensor):
                    raise InputError(
                        f"{path}: '{name}' ({stored.dtype}) has entries that are not finite "
                        "numbers."
                    )
                yield _new_name(name), tensor


def _new_name(name: str) -> str:
    return _OLD.sub(lambda match: f"{match[1]}.{_NEW[match[2]]}.{match[3]}", name)


def fingerprint(root: Path, files: Sequence[Path]) -> str:
    """The SHA-256 over the names, relative to the root, and the contents of files."""
    total = hashlib.sha256()
    for path in sorted(files):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(root).as_posix()} {digest}\n".encode())
    return total.hexdigest()


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"
