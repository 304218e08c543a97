"""Files that a document names, which are looked for beside it where it is submitted."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import Problem, SpecError


def side_file(name: str, folder: Path, field: str, *, beside: str = "the job spec") -> Path:
    """The file `name` of `field`; a relative path is looked for in `folder`, that of the document, which is
    called `beside`. A file that was named on the command line lies beside nothing.

    Raises `SpecError` where there is none that can be read. It names field and path, and what to do.
    """
    path = folder / name
    try:
        if "\0" in name:
            raise ValueError("there is a NUL in it")
        if path.is_dir():
            trouble = "it is a folder; name a file in it"
        elif not path.exists():
            trouble = "there is no such file"
            if beside and not Path(name).is_absolute():
                trouble += f"; a relative path is looked for beside {beside}"
        elif not os.access(path, os.R_OK):
            trouble = "it may not be read; see its permissions"
        else:
            return path
        place = "" if Path(name).is_absolute() else f", looked for at {path.absolute()}"
    except (OSError, ValueError) as e:  # no name of a file at all
        raise SpecError([Problem(field, f"{name!r:.80} cannot be the name of a file: {e}")]) from None
    raise SpecError([Problem(field, f"{name!r} cannot be read{place}: {trouble}")])
