"""The document of a job, whole: the spec's file and the flags, and what they name in other files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from broker_config.data_file import with_rows
from broker_config.errors import Problem, SpecError
from broker_config.job_spec import read_spec
from broker_config.script import with_source

from . import spec_file
from .output import err
from .targets import with_targets


async def read(file: str | None, flags: dict[str, Any]) -> dict[str, Any]:
    """As it can be sent; already checked, because here the message can name the file. `flags` are those of
    `spec_file.merged`, and `targets` and `skip_bad_targets`. Raises `SpecError`."""
    named = flags.get("targets")
    if file is None and not flags.get("url") and named is None:
        raise SpecError(
            [Problem("", "there is no job: name a spec file, or give --url or --targets, and --sessions")]
        )
    if named is not None and flags.get("url"):
        raise SpecError([Problem("", "--url and --targets both say where to go; give one of them")])
    document = spec_file.merged(spec_file.read(file) if file else {}, flags)
    name = _name(file)
    try:
        document = await with_targets(
            document,
            _folder(file),
            named=named,
            skip_bad=bool(flags.get("skip_bad_targets")),
            say=lambda text: err().print(text, markup=False),
        )
    except SpecError as e:
        raise e if e.source or named is not None else SpecError(e.problems, name) from None
    document = with_files(document, file)
    read_spec(document, name)
    return document


def with_files(document: dict[str, Any], file: str | None) -> dict[str, Any]:
    """The document of `file` with its script and its rows in it. Raises `SpecError` that names the file."""
    try:
        return with_source(with_rows(document, _folder(file)), _folder(file))
    except SpecError as e:
        raise e if e.source else SpecError(e.problems, _name(file)) from None


def _folder(file: str | None) -> Path:
    return Path(file).parent if file and file != "-" else Path()


def _name(file: str | None) -> str:
    return "standard input" if file == "-" else file or ""
