from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.bitmap import Bitmap, ranges

sizes = st.integers(1, 200)


@given(sizes, st.data())
def test_it_is_a_set(size: int, data: st.DataObject) -> None:
    bitmap, model = Bitmap(size), set[int]()
    for session in data.draw(st.lists(st.integers(1, size))):
        assert bitmap.add(session) == (session not in model)
        model.add(session)
        assert bitmap.count == len(model)
    assert {s for s in range(-1, size + 10) if s in bitmap} == model


@given(sizes, st.data())
def test_its_bytes_bring_it_back(size: int, data: st.DataObject) -> None:
    bitmap = Bitmap(size)
    for session in data.draw(st.sets(st.integers(1, size))):
        bitmap.add(session)
    again = Bitmap(size, bytes(bitmap))
    assert bytes(again) == bytes(bitmap)
    assert again.count == bitmap.count
    assert len(bytes(bitmap)) == (size + 7) // 8
    assert all((s in again) == (s in bitmap) for s in range(1, size + 1))


def test_bit_of_session_one_is_the_lowest_of_the_first_byte() -> None:
    bitmap = Bitmap(10)
    bitmap.add(1)
    bitmap.add(10)
    assert bytes(bitmap) == b"\x01\x02"


@pytest.mark.parametrize("session", [0, -1, 9, 2**40])
def test_what_is_outside_is_refused_and_changes_nothing(session: int) -> None:
    bitmap = Bitmap(8)
    with pytest.raises(IndexError):
        bitmap.add(session)
    assert session not in bitmap
    assert (bitmap.count, bytes(bitmap)) == (0, b"\x00")


@given(st.sets(st.integers(1, 60)))
def test_ranges_cover_just_the_sessions_and_no_two_touch(sessions: set[int]) -> None:
    found = ranges(list(sessions))
    assert [s for a, b in found for s in range(a, b + 1)] == sorted(sessions)
    assert all(b + 1 < c for (_, b), (c, _) in pairwise(found))


@pytest.mark.parametrize("bits", [b"", b"\x05", b"\x05\x00\xff\xff"])
def test_bytes_of_another_length_are_cut_or_filled(bits: bytes) -> None:
    bitmap = Bitmap(16, bits)
    assert len(bytes(bitmap)) == 2
    assert [s for s in range(1, 17) if s in bitmap] == ([1, 3] if bits else [])
