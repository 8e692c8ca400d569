"""Signed statements: who says what about which digests.

The body follows the in-toto Statement (v1): subjects by digest, a type, a predicate. The envelope
follows DSSE (v1): what is signed is the type and the payload together, so that a signature cannot
be carried over to a payload of another type. The payload is canonical JSON: one statement has one
sequence of bytes, whatever the white space of the file it came in.

Sources: in-toto attestation framework, Statement v1; DSSE, protocol v1.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loopwright.core.digest import Json, canonical_json, digest_bytes
from loopwright.core.errors import DamagedData, Untrusted
from loopwright.safety.keys import Holder, KeyRing, Role, SigningKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATES = "https://loopwright.dev/safety/"


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """What is said of some subjects."""

    kind: str
    """What sort of statement: ``"certificate/v1"``, ``"directive/v1"``, ``"test-plan/v1"``."""
    subjects: Mapping[str, str]
    """Name to SHA-256: everything that the statement is about."""
    predicate: Mapping[str, Json]
    """What is said."""

    def to_json(self) -> dict[str, Any]:
        """Return the in-toto form."""
        return {
            "_type": STATEMENT_TYPE,
            "subject": [
                {"name": name, "digest": {"sha256": digest}}
                for name, digest in sorted(self.subjects.items())
            ],
            "predicateType": PREDICATES + self.kind,
            "predicate": dict(self.predicate),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Statement:
        """Read what :meth:`to_json` wrote.

        Raises:
            DamagedData: It is no statement.
        """
        try:
            if data["_type"] != STATEMENT_TYPE or set(data) != _FIELDS:
                raise ValueError(f"fields {sorted(data)}, type {data['_type']!r}")
            subjects = {str(s["name"]): str(s["digest"]["sha256"]) for s in data["subject"]}
            if len(subjects) != len(data["subject"]):
                raise ValueError("a subject is named twice")
            kind = str(data["predicateType"])
            if not kind.startswith(PREDICATES):
                raise ValueError(f"predicate type {kind!r}")
            return cls(
                kind=kind.removeprefix(PREDICATES),
                subjects=subjects,
                predicate=dict(data["predicate"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedData(f"this is no statement: {error}") from error

    @property
    def digest(self) -> str:
        """SHA-256 of the payload; signatures are not part of it."""
        return digest_bytes(canonical_json(self.to_json()))


_FIELDS = {"_type", "subject", "predicateType", "predicate"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Signed:
    """A statement with the signatures under it."""

    statement: Statement
    signatures: tuple[tuple[str, bytes], ...]
    """Key id and signature, in the order of signing."""

    @classmethod
    def by(cls, statement: Statement, *keys: SigningKey) -> Signed:
        """Sign a statement."""
        return cls(statement=statement, signatures=()).and_by(*keys)

    def and_by(self, *keys: SigningKey) -> Signed:
        """Return the same statement with further signatures."""
        message = _signed_bytes(canonical_json(self.statement.to_json()))
        added = tuple((key.id, key.sign(message)) for key in keys)
        return Signed(statement=self.statement, signatures=self.signatures + added)

    def signers(self, ring: KeyRing) -> tuple[Holder, ...]:
        """Return who signed, each signature checked.

        Raises:
            Untrusted: There is no signature, or one that does not hold: a statement with one bad
                signature among good ones is not accepted either.
        """
        if not self.signatures:
            raise Untrusted(f"this {self.statement.kind} is not signed")
        message = _signed_bytes(canonical_json(self.statement.to_json()))
        return tuple(ring.check(name, message, signature) for name, signature in self.signatures)

    def require(self, ring: KeyRing, *roles: Role) -> tuple[Holder, ...]:
        """Return one signer per role asked for, each another person with another key.

        Raises:
            Untrusted: A signature does not hold, or the roles are not held by different people.
        """
        found = _assign(self.signers(ring), roles)
        if found is None:
            people = ", ".join(
                f"{h.person} ({'/'.join(sorted(h.roles))})" for h in self.signers(ring)
            )
            raise Untrusted(
                f"this {self.statement.kind} needs the signatures of "
                f"{' and '.join(roles)}, different people with different keys; it has: {people}"
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the DSSE form."""
        payload = canonical_json(self.statement.to_json())
        return {
            "payloadType": PAYLOAD_TYPE,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [
                {"keyid": name, "sig": base64.b64encode(signature).decode()}
                for name, signature in self.signatures
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Signed:
        """Read what :meth:`to_json` wrote.

        Raises:
            DamagedData: It is no signed statement.
        """
        try:
            if data["payloadType"] != PAYLOAD_TYPE:
                raise ValueError(f"payload type {data['payloadType']!r}")
            payload = base64.b64decode(data["payload"], validate=True)
            signed = cls(
                statement=Statement.from_json(json.loads(payload)),
                signatures=tuple(
                    (str(s["keyid"]), base64.b64decode(s["sig"], validate=True))
                    for s in data["signatures"]
                ),
            )
            if canonical_json(signed.statement.to_json()) != payload:
                raise ValueError("the payload is not in canonical form")
        except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
            raise DamagedData(f"this is no signed statement: {error}") from error
        return signed


def _signed_bytes(payload: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding of a payload."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _assign(signers: Sequence[Holder], roles: Sequence[Role]) -> tuple[Holder, ...] | None:
    """Give every role to another person, or None if that cannot be done."""
    if not roles:
        return ()
    for holder in signers:
        if roles[0] in holder.roles:
            others = [other for other in signers if other.is_other_than(holder)]
            rest = _assign(others, roles[1:])
            if rest is not None:
                return (holder, *rest)
    return None
