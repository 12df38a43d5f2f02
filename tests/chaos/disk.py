"""A small file system for the blob store, so that its disk can be full.

The mount is made in a mount namespace of this process alone: the kernel removes it with the last of our processes,
however they end. Where that is not allowed, `SmallDisk.mounted` is False and the fault is skipped.
"""

import ctypes
import os
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

CLONE_NEWNS = 0x0002_0000
MEGABYTES = 96
FILLER = ".filler"
BLOCK = bytes(1 << 16)


class SmallDisk:
    """`folder` is the blob store's; `with` mounts and unmounts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mounted = False

    def __enter__(self) -> Self:
        """Before any thread is started: only the calling thread, and what it starts, enters the namespace."""
        self.folder.mkdir(parents=True)
        if os.geteuid() == 0 and ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) == 0:
            mount = partial(subprocess.run, check=True, capture_output=True)
            with suppress(subprocess.CalledProcessError):
                mount(["mount", "--make-rprivate", "/"])
                tmpfs = ["-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=0755", "halftone-chaos", str(self.folder)]
                mount(["mount", *tmpfs])
                self.mounted = True
        return self

    def __exit__(self, *_: object) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", self.folder], check=True)
            self.mounted = False

    def fill(self) -> None:
        """Take every last byte."""
        with (self.folder / FILLER).open("ab", buffering=0) as filler:
            try:
                while True:
                    filler.write(BLOCK)
            except OSError:
                return

    def free(self) -> None:
        (self.folder / FILLER).unlink(missing_ok=True)
