from __future__ import annotations

import base64
import json
from copy import deepcopy
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.digest import canonical_json, digest_bytes
from loopwright.core.errors import DamagedData, Untrusted
from loopwright.safety.keys import Holder, KeyRing, Role, SigningKey
from loopwright.safety.statement import Signed, Statement

ADA, BOB, TIM = (
    SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)) for number in (1, 2, 3)
)
STATEMENT = Statement(
    kind="certificate/v1",
    subjects={"robot": "b" * 64, "candidate": "a" * 64},
    predicate={"level": "C", "claims": [1, 2.5, None, "é"]},
)
TEXT = (
    '{"_type":"https://in-toto.io/Statement/v1",'
    '"predicate":{"claims":[1,2.5,null,"é"],"level":"C"},'
    '"predicateType":"https://loopwright.dev/safety/certificate/v1",'
    '"subject":[{"digest":{"sha256":"' + "a" * 64 + '"},"name":"candidate"},'
    '{"digest":{"sha256":"' + "b" * 64 + '"},"name":"robot"}]}'
).encode()


def ring(**people: tuple[SigningKey, tuple[Role, ...]]) -> KeyRing:
    return KeyRing(
        Holder(person=person, public=key.public, roles=frozenset(roles))
        for person, (key, roles) in people.items()
    )


RING = ring(Ada=(ADA, ("proposer",)), Bob=(BOB, ("approver",)))


def test_the_bytes_of_a_statement_are_those_of_the_written_format() -> None:
    assert canonical_json(STATEMENT.to_json()) == TEXT
    assert STATEMENT.digest == digest_bytes(TEXT)


def test_what_is_signed_is_the_dsse_encoding_of_type_and_payload() -> None:
    signed = Signed.by(STATEMENT, ADA)
    message = b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(TEXT), TEXT)
    Ed25519PublicKey.from_public_bytes(ADA.public).verify(signed.signatures[0][1], message)


def test_a_signed_statement_comes_back_equal() -> None:
    signed = Signed.by(STATEMENT, ADA, BOB)
    data = json.loads(json.dumps(signed.to_json()))
    assert data["payloadType"] == "application/vnd.in-toto+json"
    assert base64.b64decode(data["payload"]) == TEXT
    assert [s["keyid"] for s in data["signatures"]] == [ADA.id, BOB.id]
    back = Signed.from_json(data)
    assert back == signed
    assert [holder.person for holder in back.signers(RING)] == ["Ada", "Bob"]


def test_a_further_signature_leaves_statement_and_signatures_as_they_are() -> None:
    first = Signed.by(STATEMENT, ADA)
    both = first.and_by(BOB)
    assert both.statement == first.statement
    assert both.signatures[0] == first.signatures[0]
    assert first.signatures[1:] == ()
    assert [name for name, _ in both.signatures] == [ADA.id, BOB.id]


def test_what_nobody_signed_is_refused() -> None:
    with pytest.raises(Untrusted, match="this certificate/v1 is not signed"):
        Signed.by(STATEMENT).signers(RING)
    with pytest.raises(Untrusted, match="is not signed"):
        Signed.by(STATEMENT).require(RING)


def test_one_bad_signature_among_good_ones_is_refused() -> None:
    good = Signed.by(STATEMENT, ADA, BOB)
    for bad in [(TIM.id, good.signatures[0][1]), (BOB.id, good.signatures[0][1])]:
        forged = Signed(statement=STATEMENT, signatures=(*good.signatures, bad))
        with pytest.raises(Untrusted):
            forged.require(RING, "proposer", "approver")


def test_signatures_do_not_fit_another_statement() -> None:
    signatures = Signed.by(STATEMENT, ADA, BOB).signatures
    for other in [
        Statement(kind="directive/v1", subjects=STATEMENT.subjects, predicate=STATEMENT.predicate),
        Statement(kind=STATEMENT.kind, subjects={}, predicate=STATEMENT.predicate),
        Statement(kind=STATEMENT.kind, subjects=STATEMENT.subjects, predicate={"level": "B"}),
    ]:
        with pytest.raises(Untrusted, match="does not fit"):
            Signed(statement=other, signatures=signatures).signers(RING)


def test_roles_are_given_out_in_the_order_asked_for() -> None:
    signed = Signed.by(STATEMENT, BOB, ADA)
    found = signed.require(RING, "proposer", "approver")
    assert [holder.person for holder in found] == ["Ada", "Bob"]
    assert signed.require(RING) == ()
    assert [holder.person for holder in signed.require(RING, "approver")] == ["Bob"]


def test_a_role_that_nobody_holds_is_missing() -> None:
    with pytest.raises(
        Untrusted,
        match=r"signatures of proposer and authority, different.* it has: Ada \(proposer\), Bob",
    ):
        Signed.by(STATEMENT, ADA, BOB).require(RING, "proposer", "authority")


def test_one_person_with_both_roles_is_not_two_people() -> None:
    both: tuple[Role, ...] = ("proposer", "approver")
    alone = ring(Ada=(ADA, both))
    with pytest.raises(Untrusted, match=r"Ada \(approver/proposer\)"):
        Signed.by(STATEMENT, ADA).require(alone, *both)
    with pytest.raises(Untrusted):
        Signed.by(STATEMENT, ADA, ADA).require(alone, *both)


def test_two_keys_of_one_person_are_not_two_people() -> None:
    for second in ("Ada", "ADA"):
        one = KeyRing(
            [
                Holder(person="Ada", public=ADA.public, roles=frozenset({"proposer"})),
                Holder(person=second, public=BOB.public, roles=frozenset({"approver"})),
            ]
        )
        with pytest.raises(Untrusted):
            Signed.by(STATEMENT, ADA, BOB).require(one, "proposer", "approver")


def test_people_with_several_roles_are_assigned_so_that_it_works() -> None:
    several = ring(Ada=(ADA, ("proposer", "approver")), Bob=(BOB, ("proposer",)))
    found = Signed.by(STATEMENT, ADA, BOB).require(several, "proposer", "approver")
    assert [holder.person for holder in found] == ["Bob", "Ada"]


def test_three_roles_need_three_people() -> None:
    several = ring(
        Ada=(ADA, ("proposer", "approver")),
        Bob=(BOB, ("proposer", "approver")),
        Tim=(TIM, ("approver",)),
    )
    signed = Signed.by(STATEMENT, ADA, BOB, TIM)
    assert len(signed.require(several, "proposer", "approver", "approver")) == 3
    with pytest.raises(Untrusted):
        Signed.by(STATEMENT, ADA, BOB).require(several, "proposer", "approver", "approver")


def with_payload(change: Any) -> dict[str, Any]:
    data, body = Signed.by(STATEMENT, ADA).to_json(), json.loads(TEXT)
    change(body)
    return {**data, "payload": base64.b64encode(canonical_json(body)).decode()}


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.update(_type="https://in-toto.io/Statement/v2"),
        lambda body: body.update(extra=1),
        lambda body: body.pop("predicate"),
        lambda body: body.pop("subject"),
        lambda body: body.update(subject=3),
        lambda body: body.update(predicate=3),
        lambda body: body["subject"].append(deepcopy(body["subject"][0])),
        lambda body: body["subject"][0].pop("name"),
        lambda body: body["subject"][0].update(digest="a"),
        lambda body: body["subject"][0]["digest"].update(sha512="a"),
        lambda body: body["subject"][0].update(uri="a"),
        lambda body: body["subject"].reverse(),
        lambda body: body.update(predicateType="https://example.com/certificate/v1"),
        lambda body: body.update(
            predicateType="https://example.com/https://loopwright.dev/safety/x"
        ),
        lambda body: body.update(predicate=[["level", "C"]]),
    ],
)
def test_a_payload_that_is_no_statement_is_refused(change: Any) -> None:
    with pytest.raises(DamagedData, match=r"no signed statement|no statement"):
        Signed.from_json(with_payload(change))


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.update(_type="https://in-toto.io/Statement/v2"),
        lambda body: body.update(extra=1),
        lambda body: body.pop("predicate"),
        lambda body: body["subject"].append(deepcopy(body["subject"][0])),
        lambda body: body.update(predicateType="https://example.com/certificate/v1"),
        lambda body: body.update(predicate=3),
    ],
)
def test_a_statement_is_checked_without_its_envelope_too(change: Any) -> None:
    body = json.loads(TEXT)
    assert Statement.from_json(body) == STATEMENT
    change(body)
    with pytest.raises(DamagedData, match="this is no statement"):
        Statement.from_json(body)


@pytest.mark.parametrize(
    "change",
    [
        {"payloadType": "application/json"},
        {"payload": "!"},
        {"payload": base64.b64encode(TEXT).decode() + "!"},
        {"payload": base64.b64encode(b"[").decode()},
        {"payload": base64.b64encode(b"[]").decode()},
        {"payload": base64.b64encode(TEXT + b" ").decode()},
        {"payload": base64.b64encode(TEXT.replace(b"2.5", b"2.50")).decode()},
        {"payload": base64.b64encode(TEXT.replace(b"2.5", b"NaN")).decode()},
        {
            "payload": base64.b64encode(
                TEXT.replace(b'"level":"C"', b'"level":"B","level":"C"')
            ).decode()
        },
        {"signatures": 3},
        {"signatures": [{"keyid": "a"}]},
        {"signatures": [{"keyid": "a", "sig": "!"}]},
        {"signatures": ["a"]},
    ],
)
def test_an_envelope_that_is_none_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DamagedData, match=r"no signed statement|no statement"):
        Signed.from_json({**Signed.by(STATEMENT, ADA).to_json(), **change})


@pytest.mark.parametrize("absent", ["payloadType", "payload", "signatures"])
def test_an_envelope_without_a_part_is_refused(absent: str) -> None:
    data = Signed.by(STATEMENT, ADA).to_json()
    del data[absent]
    with pytest.raises(DamagedData, match="no signed statement"):
        Signed.from_json(data)


def test_what_is_no_json_object_is_no_statement() -> None:
    for data in ([], 3, None, "text"):
        with pytest.raises(DamagedData):
            Statement.from_json(data)  # type: ignore[arg-type]
        with pytest.raises(DamagedData):
            Signed.from_json(data)  # type: ignore[arg-type]


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=8,
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXTS, st.dictionaries(TEXTS, TEXTS), st.dictionaries(TEXTS, PLAIN))
def test_any_statement_survives_the_trip_with_its_signature(
    kind: str, subjects: dict[str, str], predicate: dict[str, Any]
) -> None:
    signed = Signed.by(Statement(kind=kind, subjects=subjects, predicate=predicate), ADA)
    back = Signed.from_json(json.loads(json.dumps(signed.to_json())))
    assert back == signed
    assert back.signers(RING)[0].person == "Ada"


@given(st.integers(0, len(TEXT) - 1), st.integers(1, 255))
def test_any_flipped_byte_of_the_payload_is_noticed(place: int, difference: int) -> None:
    data = Signed.by(STATEMENT, ADA).to_json()
    payload = bytearray(TEXT)
    payload[place] ^= difference
    with pytest.raises((DamagedData, Untrusted)):
        Signed.from_json({**data, "payload": base64.b64encode(payload).decode()}).signers(RING)
