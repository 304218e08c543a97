"""A set of session numbers 1 to n in n bits."""

from __future__ import annotations


class Bitmap:
    """Mutable; `bytes(bitmap)` is its wire form, bit `session - 1` little end first."""

    __slots__ = ("_bits", "count", "size")

    def __init__(self, size: int, bits: bytes = b"") -> None:
        self.size = size
        self._bits = bytearray((size + 7) // 8)
        self._bits[: len(bits)] = bits[: len(self._bits)]
        self.count = int.from_bytes(self._bits, "little").bit_count()

    def add(self, session: int) -> bool:
        """Add; False if it was there already. `IndexError` outside 1 to size."""
        if not 1 <= session <= self.size:
            raise IndexError(session)
        byte, bit = divmod(session - 1, 8)
        if self._bits[byte] >> bit & 1:
            return False
        self._bits[byte] |= 1 << bit
        self.count += 1
        return True

    def __contains__(self, session: int) -> bool:
        byte, bit = divmod(session - 1, 8)
        return 1 <= session <= self.size and bool(self._bits[byte] >> bit & 1)

    def __bytes__(self) -> bytes:
        return bytes(self._bits)


def ranges(sessions: list[int]) -> list[tuple[int, int]]:
    """Inclusive ranges that cover just these sessions."""
    out: list[tuple[int, int]] = []
    for s in sorted(sessions):
        if out and out[-1][1] == s - 1:
            out[-1] = (out[-1][0], s)
        else:
            out.append((s, s))
    return out
