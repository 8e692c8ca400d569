"""How ROS 2 is laid out over Zenoh: keys, liveliness tokens and attachments of rmw_zenoh.

Written from rmw_zenoh's design document and the layout of its releases since 0.2.4 (Jazzy):
messages lie under ``<domain>/<topic>/<type>/<type hash>``; every entity has a token under
``@ros2_lv``; every message carries 33 bytes: sequence number and time (int64, little-endian), the
length 16, and the id of the publisher. Releases before 0.2.4 named each field; that is read too.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Literal

from loopwright.core.errors import ContractError

EntityKind = Literal["NN", "MP", "MS"]
"""A node, a publisher, a subscription."""

_ATTACHMENT = struct.Struct("<qqB16s")
_NAMED = struct.Struct("<B15sqB16sqB10sB16s")
_NAMES = (15, b"sequence_number", 16, b"source_timestamp", 10, b"source_gid")
_GID_BYTES = 16
_DEFAULT_QOS = "::,{depth}:,:,:,,"


class NotFromRos(ContractError):
    """A sample that rmw_zenoh would not have sent; it is dropped, and counted."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """What travels beside every message."""

    sequence: int
    """Counts the messages of one publisher, from 1."""
    time_ns: int
    """Wall clock of the publisher, nanoseconds since 1970."""
    gid: bytes
    """Which publisher, 16 bytes."""

    def to_bytes(self) -> bytes:
        """Return the 33 bytes of the present layout."""
        return _ATTACHMENT.pack(self.sequence, self.time_ns, _GID_BYTES, self.gid)

    @classmethod
    def from_bytes(cls, data: bytes) -> Attachment:
        """Read the present layout, or that with named fields.

        Raises:
            NotFromRos: It is neither.
        """
        if len(data) == _ATTACHMENT.size:
            sequence, time_ns, length, gid = _ATTACHMENT.unpack(data)
            if length == _GID_BYTES:
                return cls(sequence, time_ns, gid)
        if len(data) == _NAMED.size:
            n1, name1, sequence, n2, name2, time_ns, n3, name3, length, gid = _NAMED.unpack(data)
            if (n1, name1, n2, name2, n3, name3) == _NAMES and length == _GID_BYTES:
                return cls(sequence, time_ns, gid)
        raise NotFromRos(f"an attachment of {len(data)} bytes is none of rmw_zenoh's")


@dataclass(frozen=True, kw_only=True, slots=True)
class Topic:
    """A topic with its type."""

    domain: int
    name: str
    """Absolute, ``"/joint_states"``."""
    type_name: str
    """As in ROS, ``"std_msgs/msg/String"``."""
    type_hash: str
    """``"RIHS01_..."``."""

    @property
    def dds_type(self) -> str:
        """The type as DDS spells it, ``"std_msgs::msg::dds_::String_"``."""
        package, _, name = self.type_name.split("/")
        return f"{package}::msg::dds_::{name}_"

    @property
    def key(self) -> str:
        """Where its messages lie."""
        return f"{self.domain}/{self.name.strip('/')}/{self.dds_type}/{self.type_hash}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A node of one session."""

    domain: int
    session: str
    """Id of the Zenoh session, hexadecimal."""
    name: str
    namespace: str = "/"

    def token(
        self, kind: EntityKind, number: int, topic: Topic | None = None, *, depth: int = 10
    ) -> str:
        """Return the key of the liveliness token of the node or of something on it.

        Args:
            kind: What it is.
            number: Another one for everything in the session; 0 for the node itself.
            topic: Of a publisher or subscription.
            depth: How many messages it keeps.
        """
        place = [str(self.domain), self.session, "0", str(number), kind]
        names = ["%", mangled(self.namespace), mangled(self.name)]
        about = (
            []
            if topic is None
            else [
                mangled(topic.name),
                topic.dds_type,
                topic.type_hash,
                _DEFAULT_QOS.format(depth=depth),
            ]
        )
        return "/".join(["@ros2_lv", *place, *names, *about])


def mangled(name: str) -> str:
    """Return a name as it stands in a token, where ``/`` would part it."""
    return name.replace("/", "%") or "%"


def gid_of(token: str) -> bytes:
    """Return 16 bytes that tell a publisher from others; here a digest of its token."""
    return hashlib.blake2b(token.encode(), digest_size=_GID_BYTES).digest()
