from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from loopwright.core.digest import digest_bytes
from loopwright.core.errors import DamagedData, InvalidConfig, StorageError, UnknownName, Untrusted
from loopwright.safety.keys import ROLES, Holder, KeyRing, SigningKey, key_id

KEY, OTHER = SigningKey.new(), SigningKey.new()


def ada(key: SigningKey = KEY, person: str = "Ada", *roles: str) -> Holder:
    return Holder(person=person, public=key.public, roles=frozenset(roles or ("proposer",)))  # type: ignore[arg-type]


def test_a_key_comes_back_from_its_file_and_signs_the_same(tmp_path: Path) -> None:
    KEY.write(tmp_path / "ada.key")
    read = SigningKey.read(tmp_path / "ada.key")
    assert (read.public, read.id) == (KEY.public, KEY.id)
    assert read.sign(b"hello") == KEY.sign(b"hello")  # Ed25519 signs without randomness
    Ed25519PublicKey.from_public_bytes(KEY.public).verify(KEY.sign(b"hello"), b"hello")


def test_new_keys_differ() -> None:
    assert KEY.public != OTHER.public


def test_a_key_is_named_by_the_digest_of_its_public_half() -> None:
    assert KEY.id == key_id(KEY.public) == digest_bytes(KEY.public)[:16]


def test_only_the_owner_may_read_a_key_file(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        KEY.write(tmp_path / "ada.key")
    finally:
        os.umask(before)
    assert (tmp_path / "ada.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o601, 0o620, 0o602])
def test_a_key_that_others_may_touch_is_not_used(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "ada.key"
    KEY.write(path)
    path.chmod(mode)
    with pytest.raises(Untrusted, match="may be read by others"):
        SigningKey.read(path)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_file_of_another_size_is_no_key(tmp_path: Path, size: int) -> None:
    path = tmp_path / "ada.key"
    path.touch(0o600)
    path.write_bytes(bytes(size))
    with pytest.raises(DamagedData, match=f"holds {size} bytes"):
        SigningKey.read(path)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedData, match="no key could be read from"):
        SigningKey.read(tmp_path / "ada.key")


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "ada.key"
    KEY.write(path)
    with pytest.raises(InvalidConfig, match="never overwritten"):
        OTHER.write(path)
    assert SigningKey.read(path).id == KEY.id


def test_a_key_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="could not be written"):
        KEY.write(tmp_path / "nowhere" / "ada.key")


def test_a_ring_tells_who_signed() -> None:
    ring = KeyRing([ada(), ada(OTHER, "Bob")])
    assert ring.check(KEY.id, b"text", KEY.sign(b"text")).person == "Ada"
    assert ring.check(OTHER.id, b"text", OTHER.sign(b"text")).person == "Bob"
    assert [holder.person for holder in ring] == ["Ada", "Bob"]


def test_a_ring_refuses_an_altered_message_and_the_signature_of_another() -> None:
    ring = KeyRing([ada(), ada(OTHER, "Bob")])
    for message, signature in [
        (b"text!", KEY.sign(b"text")),
        (b"text", OTHER.sign(b"text")),
        (b"text", b""),
        (b"text", bytes(64)),
    ]:
        with pytest.raises(Untrusted, match="'Ada' does not fit"):
            ring.check(KEY.id, message, signature)


def test_an_unknown_key_is_refused_and_the_known_people_are_named() -> None:
    ring = KeyRing([ada(OTHER, "Zoe"), ada(person="Ada")])
    with pytest.raises(Untrusted, match="not on the key ring, which trusts Ada, Zoe"):
        ring.holder("0" * 16)
    with pytest.raises(Untrusted, match=r"trusts nobody$"):
        KeyRing().check(KEY.id, b"text", KEY.sign(b"text"))


def test_a_key_cannot_belong_to_two_people() -> None:
    with pytest.raises(InvalidConfig, match=r"of 'Bob' is listed already, as that of 'Ada'"):
        KeyRing([ada(), ada(person="Bob")])


@pytest.mark.parametrize("person", ["", " ", "Ada ", " Ada", "Ada  Lovelace", "Ada\tLovelace"])
def test_names_that_look_alike_are_refused(person: str) -> None:
    with pytest.raises(InvalidConfig, match="expected the name of a person"):
        ada(person=person)


def test_a_person_of_two_words_is_a_person() -> None:
    assert ada(person="Ada Lovelace").person == "Ada Lovelace"


def test_roles_are_known_ones() -> None:
    assert ada(KEY, "Ada", *ROLES).roles == set(ROLES)
    with pytest.raises(UnknownName, match="did you mean 'approver'"):
        ada(KEY, "Ada", "aprover")


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_public_key_has_32_bytes(size: int) -> None:
    with pytest.raises(InvalidConfig, match=f"has {size} bytes, not 32"):
        Holder(person="Ada", public=bytes(size), roles=frozenset())


def test_another_person_has_another_name_and_another_key() -> None:
    assert ada().is_other_than(ada(OTHER, "Bob"))
    assert not ada().is_other_than(ada(OTHER, "Ada"))
    assert not ada().is_other_than(ada(OTHER, "ADA"))
    assert not ada().is_other_than(ada(KEY, "Bob"))


def test_a_ring_comes_back_from_its_file(tmp_path: Path) -> None:
    ring = KeyRing([ada(KEY, "Ada", "proposer", "operator"), ada(OTHER, "Bob", "approver")])
    ring.write(tmp_path / "ring.json")
    assert list(KeyRing.read(tmp_path / "ring.json")) == list(ring)
    assert ring.to_json()["keys"][0]["roles"] == ["operator", "proposer"]
    assert [path.name for path in tmp_path.iterdir()] == ["ring.json"]


def test_a_ring_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="could not be written"):
        KeyRing([ada()]).write(tmp_path / "nowhere" / "ring.json")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"keys": [{}]}',
        '{"keys": [3]}',
        '{"keys": 3}',
        json.dumps({"keys": [{"person": "Ada", "public": "zz", "roles": []}]}),
        json.dumps({"keys": [{"person": "Ada", "public": "00", "roles": []}]}),
        json.dumps({"keys": [{"person": "Ada", "public": KEY.public.hex(), "roles": ["king"]}]}),
    ],
)
def test_what_is_no_ring_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ring.json"
    path.write_text(text)
    with pytest.raises(DamagedData, match=r"ring\.json is no key ring"):
        KeyRing.read(path)


def test_a_missing_ring_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DamagedData, match=r"ring\.json is no key ring"):
        KeyRing.read(tmp_path / "ring.json")
