"""`tb journeys …`: record, import. `journey_check` has the third."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from broker_config.errors import Problem, SettingsError, SpecError
from broker_config.job_spec import read_spec
from broker_config.script import read_source
from broker_config.side_file import side_file
from orchestrator.core import admission

from . import journey_import
from .exit_codes import ExitCode
from .output import err
from .settings import Settings


def import_(
    file: str, *, output: Path | None = None, url: str | None = None, strict: bool = False
) -> ExitCode:
    """Write the job of recorded code to `output` or stdout; what is not in it is named on stderr, and makes
    the code 1 if `strict`. Raises `SpecError`, and `SettingsError` where `output` exists."""
    _free(output)
    return _write(read_source(side_file(file, Path(), "FILE", beside="")), file, output, url, strict=strict)


async def record(settings: Settings, url: str, *, output: Path | None = None) -> ExitCode:
    """Record in a window, then as `import_`. Raises `BrowserError` too."""
    from .journey_record import record as recorded

    _free(output)
    try:
        refused = admission.refusals([("URL", url)], settings.allowed_origins)
    except ValueError as e:
        raise SpecError([Problem("URL", str(e))]) from None
    if refused:
        raise SpecError(refused)
    err().print("recording; close the window when you are done", markup=False)
    return _write(await recorded(url), "recorded.py", output, url, strict=False)


def _free(output: Path | None) -> None:
    if output is not None and output.exists():
        raise SettingsError(f"--output: {output} exists; remove it, or choose another name")


def _write(source: str, name: str, output: Path | None, url: str | None, *, strict: bool) -> ExitCode:
    found = journey_import.translate(source, name)
    job = journey_import.as_job(found, name, url)
    # What stands in recorded code may still be nothing that a job can have.
    read_spec(job, name)
    for left in found.left_out:
        err().print(f"{name}: {left}", markup=False, soft_wrap=True)
    text = _yaml(job, [str(left) for left in found.left_out])
    if output is None:
        print(text, end="", flush=True)
    else:
        output.write_text(text, "utf-8")
        steps = len(found.steps)
        err().print(f"wrote {output}: {steps} step{'s' * (steps != 1)}", markup=False, soft_wrap=True)
    return ExitCode.THRESHOLD_FAILED if strict and found.left_out else ExitCode.PASSED


def _yaml(job: dict[str, Any], remarks: list[str]) -> str:
    import yaml

    head = "".join(f"# not translated: {' '.join(r.split())}\n" for r in remarks)
    return head + yaml.safe_dump(job, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)
