"""`tb jobs report`: the report of a job, to a file or to stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, cast

from broker_config.api import ReportFormat
from broker_config.errors import SettingsError

from .client import Client
from .output import err


async def write(client: Client, job: str, format: ReportFormat, output: Path | None) -> None:
    """Raises `SettingsError` where `output` cannot be written. A report that breaks off leaves no file."""
    async with client as c:
        if output is None:
            await c.report(job, format, sys.stdout.buffer.write)
            sys.stdout.buffer.flush()
            return
        with _whole(output) as file:
            await c.report(job, format, file.write)
    err().print(f"wrote {output}", markup=False)


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its place when it is complete."""
    try:
        # Not as secret as temporary files usually are: it is written for others to read.
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            part = Path(file.name)
            try:
                yield cast(BinaryIO, file)
                file.flush()
                mask = os.umask(0)
                os.umask(mask)
                part.chmod(0o666 & ~mask)
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
    except OSError as e:
        raise SettingsError(f"--output {path} cannot be written: {e.strerror or e}") from None
