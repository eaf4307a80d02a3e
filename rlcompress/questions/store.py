"""What questions told of texts, on disk: an encoder is asked once for all runs that share it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

_NAME = "told"


class ArrayStore:
    """Float32 arrays [N, C] in a folder, one file a key. A file is whole or not there, whoever writes it meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, *key: str) -> NDArray[np.float32] | None:
        try:
            array: NDArray[np.float32] = load_file(self._file(key))[_NAME]
        except FileNotFoundError:
            return None
        return array

    def put(self, array: NDArray[np.float32], *key: str) -> None:
        file = self._file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(save({_NAME: np.ascontiguousarray(array)}))
        temporary.replace(file)

    def _file(self, key: tuple[str, ...]) -> Path:
        h = hashlib.blake2b(digest_size=16)
        for part in key:
            data = part.encode("utf-8", "surrogatepass")
            h.update(len(data).to_bytes(8, "little"))
            h.update(data)
        return self.folder / f"{h.hexdigest()}.safetensors"
