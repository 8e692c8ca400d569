"""Which published packages the emoji come from: pinned versions, pinned bytes, and their terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from loopwright.store.corpus import Source

Style = Literal["twemoji", "noto", "fluent"]

STYLES: tuple[Style, ...] = ("twemoji", "noto", "fluent")
"""Drawing styles, in the order of the rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """A package of the npm registry, to the byte."""

    name: str
    version: str
    integrity: str
    """SHA-512 of the tarball in base64, as package locks write it."""
    licence: str
    attribution: str
    changes: str

    @property
    def file_name(self) -> str:
        """What the tarball is called in the cache."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"

    def source(self) -> Source:
        """Return what a corpus says about this package."""
        return Source(
            package=self.name,
            version=self.version,
            integrity=self.integrity,
            licence=self.licence,
            attribution=self.attribution,
            changes=self.changes,
        )


_DRAWN = "drawn as pixels on white and reduced in size"

DRAWINGS: dict[Style, Package] = {
    "twemoji": Package(
        name="@iconify-json/twemoji",
        version="1.2.5",
        integrity=(
            "sha512-uKpuIEV0v6K5BW3Mjdyl+XKFVAbbcPxAgifKvEMtZoUZB5+YiY5zaMm2uNNCxyXzAWU9yNLlj41W"
            "U6/mvgALsw=="
        ),
        licence="CC-BY-4.0",
        attribution=(
            "Twemoji graphics, copyright Twitter, Inc and other contributors, CC BY 4.0 "
            "(https://creativecommons.org/licenses/by/4.0/), https://github.com/jdecked/twemoji, "
            "packaged by Iconify"
        ),
        changes=_DRAWN,
    ),
    "noto": Package(
        name="@iconify-json/noto",
        version="1.2.9",
        integrity=(
            "sha512-DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0m"
            "qHYeZVAuaw=="
        ),
        licence="Apache-2.0",
        attribution=(
            "Noto Emoji, copyright Google Inc., Apache License 2.0, "
            "https://github.com/googlefonts/noto-emoji, packaged by Iconify"
        ),
        changes=_DRAWN,
    ),
    "fluent": Package(
        name="@iconify-json/fluent-emoji-flat",
        version="1.2.6",
        integrity=(
            "sha512-RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSY"
            "M1M4fRXlUw=="
        ),
        licence="MIT",
        attribution=(
            "Fluent Emoji, copyright Microsoft Corporation, MIT License, "
            "https://github.com/microsoft/fluentui-emoji, packaged by Iconify"
        ),
        changes=_DRAWN,
    ),
}
"""One package of SVG drawings for each style."""

CAPTIONS = Package(
    name="emojibase-data",
    version="17.0.0",
    integrity=(
        "sha512-Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljH"
        "sTygjA=="
    ),
    licence="MIT",
    attribution=(
        "Emojibase, copyright Miles Johnson, MIT License, https://github.com/milesj/emojibase; "
        "labels and tags from the Unicode CLDR (https://cldr.unicode.org, Unicode License v3)"
    ),
    changes="joined to the drawings",
)
"""The package of labels and tags."""
