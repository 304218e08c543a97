from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
import pytest

from broker_config.errors import SettingsError
from runner.work.result import Result
from runner.work.spool import Spool


def result(n: int, size: int = 10) -> Result:
    return Result(
        job="job1",
        session=n,
        subject="job.progress.job1.r1",
        message_id=f"job1.{n}",
        data=msgspec.Raw(b'"' + b"x" * size + b'"'),
        ack="$JS.ACK.s",
    )


def spool(path: Path, instance: str = "one", max_records: int = 3, max_bytes: int = 10_000) -> Spool:
    return Spool(path, instance, max_records=max_records, max_bytes=max_bytes)


def test_results_come_back_in_order_and_unchanged(tmp_path: Path) -> None:
    one = spool(tmp_path)
    assert one.open() == 0
    for n in (1, 2, 3):
        one.put(result(n))
    assert [r for _, r in one.read()] == [result(1), result(2), result(3)]


def test_nobody_else_reads_it_whatever_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        spool(tmp_path / "new").open()
    finally:
        os.umask(before)
    for folder in ("new", "new/spool", "new/spool/one"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700


def test_bounds(tmp_path: Path) -> None:
    one = spool(tmp_path)
    one.open()
    full = []
    for n in (1, 2, 3):
        path = one.put(result(n))
        full.append(one.full)
    one.remove(path)
    full.append(one.full)
    one.put(result(4, size=20_000))
    full.append(one.full)
    assert full == [False, False, True, False, True]


def test_a_new_process_takes_over_what_a_dead_one_left_but_not_a_living_ones(tmp_path: Path) -> None:
    living, dead = spool(tmp_path, "living"), spool(tmp_path, "dead")
    for s, n in ((living, 1), (dead, 2)):
        s.open()
        s.put(result(n))
    dead.close()
    new = spool(tmp_path, "new")
    assert new.open() == 1
    assert [r.session for _, r in new.read()] == [2]


def test_nothing_is_left_when_all_is_published(tmp_path: Path) -> None:
    one = spool(tmp_path)
    one.open()
    one.remove(one.put(result(1)))
    assert len(one) == 0
    one.close()
    assert list((tmp_path / "spool").iterdir()) == []


def test_an_unreadable_result_is_put_aside(tmp_path: Path) -> None:
    one = spool(tmp_path)
    one.open()
    path = one.put(result(1))
    one.put(result(2))
    path.write_bytes(b"{broken")
    assert [r.session for _, r in one.read()] == [2]
    assert len(one) == 1
    assert path.with_suffix(".bad").exists()


def test_an_unusable_data_directory_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(SettingsError, match="data directory"):
        spool(tmp_path).open()
