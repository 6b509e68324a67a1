"""Stands in for a container engine: the image's own instructions, run by bubblewrap on this machine's files.

The root is an empty file system with this machine's system folders in it, made read-only; `/opt` is what the build stage wrote,
`/data` the volume. The command has the image's environment and nothing else, another user's id, no capability, and is process 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.infra.recipe import ROOT, environment, program, stages, values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NOT_OURS = {"build", "data", "dev", "opt", "proc", "srv", "sys", "tmp"}


def python_folder() -> Path:
    """The folder of the Python that the image has, where pyenv has it; else of this one."""
    version = stages()[0][0].rest.split()[0].removeprefix("python:").partition("-")[0]
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = sorted(root.glob(f"versions/{version}.*/bin"))
    return found[-1] if found else Path(sys.base_prefix) / "bin"


def root() -> Iterator[str]:
    """A root without anything that an image would bring itself."""
    for entry in sorted(Path("/").iterdir()):
        if entry.is_symlink():
            yield from ("--symlink", str(entry.readlink()), str(entry))
        elif entry.is_dir() and entry.name not in NOT_OURS:
            yield from ("--ro-bind", str(entry), str(entry))
    yield from ("--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--dir", "/srv")
    if (work := python_folder().resolve()).parts[1] in NOT_OURS:
        yield from ("--ro-bind", str(work.parent), str(work.parent))


class Image:
    """What `docker build` would leave.

    Args:
        folder: where it may write.
    """

    def __init__(self, folder: Path) -> None:
        self._bwrap = program("bwrap")
        self._opt = folder / "opt"
        self._build = folder / "build"
        self.data = folder / "data"
        for path in (self._opt, self._build, self.data):
            path.mkdir()

    def build(self) -> None:
        """Carry out the build stage: its COPY and RUN instructions, as they are written."""
        stage = stages()[0]
        path = f"{python_folder()}:/usr/local/bin:/usr/bin:/bin"
        # Registry, proxy and certificates are this machine's, as docker build would be told them.
        environ = {**os.environ, **environment(stage), "PATH": path}
        writable = ("--bind", str(self._opt), "/opt", "--bind", str(self._build), "/build")
        (workdir,) = values(stage, "WORKDIR")
        for instruction in stage:
            if instruction.word == "COPY":
                self._copy(instruction.rest.split())
            elif instruction.word == "RUN":
                words = (*root(), *writable, "--chdir", workdir, "sh", "-c", instruction.rest)
                done = subprocess.run(
                    [self._bwrap, *words], env=environ, capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, done.stderr

    def _copy(self, words: list[str]) -> None:
        *sources, target = words
        for source in map(ROOT.joinpath, sources):
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.py[cod]")
                shutil.copytree(source, self._build / target, ignore=ignored)
            else:
                shutil.copy(source, self._build / target)

    def command(self, words: Sequence[str], environ: Mapping[str, str]) -> list[str]:
        """The command line that runs `words` in the image with `environ` added to its own."""
        final = stages()[-1]
        (user,) = values(final, "USER")
        uid, gid = user.split(":")
        said = {**environment(final), **environ}
        settings = [part for name, value in said.items() for part in ("--setenv", name, value)]
        return [
            self._bwrap,
            *root(),
            *("--ro-bind", str(self._opt), "/opt", "--bind", str(self.data), "/data"),
            *("--remount-ro", "/", "--chdir", values(final, "WORKDIR")[0]),
            *("--unshare-user", "--uid", uid, "--gid", gid, "--cap-drop", "ALL"),
            *("--unshare-pid", "--as-pid-1", "--die-with-parent", "--clearenv", *settings),
            *words,
        ]
