from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from runner.browser.scratch import PREFIX, Scratch, sweep

HOLDER = """
import sys, time
from pathlib import Path
from runner.browser.scratch import Scratch
scratch = Scratch(Path(sys.argv[1]))
(scratch.path / "profile").mkdir()
print(scratch.path, flush=True)
time.sleep(60)
"""


def test_it_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    (scratch.path / "deep" / "er").mkdir(parents=True)
    scratch.remove()
    assert list(tmp_path.iterdir()) == []


def test_those_of_the_living_are_not_swept_and_those_of_the_dead_are(tmp_path: Path) -> None:
    mine = Scratch(tmp_path)
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        theirs = Path(holder.stdout.readline().decode().strip())
        assert sweep(tmp_path) == 0
        assert theirs.is_dir()
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout and holder.stdout.close()
    assert sweep(tmp_path) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [mine.path.name, f"{mine.path.name}.lock"]
    mine.remove()


def test_other_directories_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "playwright-artifacts-x").mkdir()
    (tmp_path / f"{PREFIX}x.lock").touch()
    assert sweep(tmp_path) == 0
    assert (tmp_path / "playwright-artifacts-x").is_dir()
