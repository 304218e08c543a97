"""The keyring on disk: whole or not at all, for its owner alone, the same for whoever makes it at once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nkeys
import pytest

from broker_config.errors import SettingsError
from broker_config.keyring import Keyring, KeysExist

FILES = [
    "app-account.nk",
    "dispatch.nk",
    "operator.nk",
    "runners-account.nk",
    "runners-signing.nk",
    "seal",
    "system-account.nk",
]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    Keyring.new().save(tmp_path / "keys")
    return tmp_path / "keys"


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    made = Keyring.load_or_make(tmp_path / "data" / "keys")
    assert (
        Keyring.load(tmp_path / "data" / "keys") == made == Keyring.load_or_make(tmp_path / "data" / "keys")
    )
    assert sorted(os.listdir(tmp_path / "data" / "keys")) == FILES
    assert os.listdir(tmp_path / "data") == ["keys"]


def test_only_its_owner_can_read_it(directory: Path) -> None:
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in directory.iterdir()} == {0o600}


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    made = Keyring.load_or_make(tmp_path / "keys")
    assert Keyring.load(tmp_path / "keys") == made


@pytest.mark.parametrize("name", FILES)
def test_half_a_keyring_is_refused(directory: Path, name: str) -> None:
    (directory / name).unlink()
    for take in (Keyring.load, Keyring.load_or_make):
        with pytest.raises(SettingsError, match=f"{name} is missing; keys come as a whole directory"):
            take(directory)
    assert not (directory / name).exists()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"SUAM", b"x" * 58])
def test_a_broken_file_is_refused(directory: Path, name: str, content: bytes) -> None:
    (directory / name).write_bytes(content)
    with pytest.raises(SettingsError, match=f"{name} does not hold"):
        Keyring.load(directory)


def test_a_damaged_seed_is_refused(directory: Path) -> None:
    seed = bytearray((directory / "dispatch.nk").read_bytes())
    seed[20] = ord("A") if seed[20] != ord("A") else ord("B")
    (directory / "dispatch.nk").write_bytes(seed)
    with pytest.raises(SettingsError, match=r"dispatch\.nk does not hold the seed of such a key"):
        Keyring.load(directory)


def test_a_seed_of_another_kind_is_refused(directory: Path) -> None:
    (directory / "operator.nk").write_bytes((directory / "dispatch.nk").read_bytes())
    with pytest.raises(SettingsError, match=r"operator\.nk does not hold the seed of such a key"):
        Keyring.load(directory)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_file_that_others_can_read_is_refused(directory: Path, mode: int) -> None:
    (directory / "seal").chmod(mode)
    with pytest.raises(SettingsError, match="seal can be read by others; chmod 600"):
        Keyring.load(directory)


def test_a_directory_that_others_can_write_is_refused(directory: Path) -> None:
    directory.chmod(0o770)
    with pytest.raises(SettingsError, match="can be written by others"):
        Keyring.load(directory)


def test_keys_are_never_overwritten(directory: Path) -> None:
    before = Keyring.load(directory)
    with pytest.raises(KeysExist, match="is not empty; name a directory that does not exist yet"):
        Keyring.new().save(directory)
    assert Keyring.load(directory) == before
    assert os.listdir(directory.parent) == ["keys"]


def test_a_place_that_cannot_hold_keys_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for where in (tmp_path / "file", tmp_path / "file" / "keys"):
        with pytest.raises(SettingsError, match=r"cannot be (kept|read)|is missing"):
            Keyring.load_or_make(where)
    assert os.listdir(tmp_path) == ["file"]


def test_threads_that_make_it_at_once_get_the_same(tmp_path: Path) -> None:
    for n in range(10):
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _, n=n: Keyring.load_or_make(tmp_path / str(n)), range(8)))
        assert all(ring == made[0] for ring in made)
    assert len(os.listdir(tmp_path)) == 10


def test_processes_that_make_it_at_once_get_the_same(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from broker_config.keyring import Keyring; "
        "sys.stdin.readline(); "
        "print(Keyring.load_or_make(Path(sys.argv[1])).public('dispatch'))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "keys")]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    said = {child.communicate()[0] for child in children}
    assert said == {Keyring.load(tmp_path / "keys").public("dispatch") + "\n"}
    assert os.listdir(tmp_path) == ["keys"]


def test_it_goes_into_one_document_and_back() -> None:
    ring = Keyring.new()
    assert Keyring.decode(ring.encode()) == ring
    for broken in (b"", b"{}", b"[]", ring.encode()[:-9], ring.encode().replace(b"SU", b"SA")):
        with pytest.raises(SettingsError, match="cannot be read"):
            Keyring.decode(broken)


def test_keys_of_other_orchestrators_are_announced_beside_the_own(tmp_path: Path) -> None:
    """So that a fleet changes over to new keys one orchestrator at a time."""
    old, new = Keyring.new(), Keyring.new()
    assert old.dispatch_keys == [old.public("dispatch")]
    old.save(tmp_path / "keys")
    accepted = tmp_path / "keys" / "dispatch-accepted"
    accepted.write_text(f"{new.public('dispatch')}\n")
    accepted.chmod(0o600)
    assert Keyring.load(tmp_path / "keys").dispatch_keys == [old.public("dispatch"), new.public("dispatch")]
    accepted.write_text("nonsense\n")
    with pytest.raises(SettingsError, match="dispatch-accepted: 'nonsense' is not a public key"):
        Keyring.load(tmp_path / "keys")


def test_public_keys_are_those_of_their_kind() -> None:
    ring = Keyring.new()
    assert ring.public("dispatch").startswith("U")
    assert ring.public("operator").startswith("O")
    assert ring.public("runners_signing").startswith("A")
    assert nkeys.from_seed(bytearray(ring.dispatch)).public_key.decode() == ring.public("dispatch")
