"""What each emoji is called, in every language there is, and what can be told from its code.

An emoji is named by its **hexcode**: its code points without the invisible variation selector
FE0F, as ``1F44B-1F3FB`` (waving hand, light skin tone). Its **base** is the hexcode of the concept
without skin tone, gender and direction: a woman and a man firefighter of any tone have one base.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from loopwright.core.errors import DamagedData
from loopwright.scenarios.emoji.fetch import member_names, read_json

Gender = Literal["", "man", "woman", "mixed"]

COLOURS = (
    "light blue", "red", "orange", "yellow", "green", "blue", "purple", "brown", "black", "white",
    "pink", "grey",
)  # fmt: skip
"""Colour words of English labels; the longest that fits counts."""

_JOINER, _INVISIBLE = "200D", "FE0F"
_PERSON = "1F9D1"
_GENDERED_PERSONS = {"1F468", "1F469"}
_SIGN = re.compile(r"-200D-(2640|2642|27A1)\b")
"""Joined to a person: female, male, facing right."""
_FAMILY_MEMBERS = {_PERSON, "1F9D2", "1F466", "1F467"}
_SAME_CONCEPT = {
    "1F466": "1F9D2", "1F467": "1F9D2",  # boy, girl: child
    "1F474": "1F9D3", "1F475": "1F9D3",  # old man, old woman: older person
    "1F478": "1FAC5", "1F934": "1FAC5",  # princess, prince: person with crown
    "1F385": "1F9D1-200D-1F384", "1F936": "1F9D1-200D-1F384",  # Santa Claus, Mrs. Claus: Mx Claus
    "1F57A": "1F483",  # man dancing, woman dancing
    "1F930": "1FAC4", "1FAC3": "1FAC4",  # pregnant woman, man: person
    "1F46B": "1F9D1-200D-1F91D-200D-1F9D1",  # two people holding hands
    "1F46C": "1F9D1-200D-1F91D-200D-1F9D1",
    "1F46D": "1F9D1-200D-1F91D-200D-1F9D1",
    "1F9D1-200D-2764-200D-1F48B-200D-1F9D1": "1F48F",  # kiss
    "1F9D1-200D-2764-200D-1F9D1": "1F491",  # couple with heart
}  # fmt: skip
"""Genders that have code points of their own, rather than a sign."""

_MALE = {"man", "men", "boy", "boys", "prince", "merman", "santa"}
_FEMALE = {"woman", "women", "girl", "girls", "princess", "mermaid", "mrs"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Caption:
    """One emoji in words."""

    hexcode: str
    parent: str
    """The same without skin tones; of itself if it has none."""
    base: str
    """The concept: without tone, gender and direction."""
    order: int
    """Place in the order of the Unicode consortium; what has none comes last."""
    group: str
    subgroup: str
    tones: tuple[int, ...]
    """Skin tones of the one or two persons, 1 (light) to 5 (dark); one number if they agree."""
    gender: Gender
    colour: str
    """Colour word of the English label, or nothing."""
    labels: Mapping[str, str]
    """Language to name."""
    tags: Mapping[str, tuple[str, ...]]
    """Language to keywords; those of the parent, as a tone has none of its own."""

    @property
    def is_flag(self) -> bool:
        """Whether it is the flag of a country or a part of one."""
        return self.subgroup in ("country-flag", "subdivision-flag")


def normal_hexcode(text: str) -> str:
    """Return a hexcode in capitals and without the invisible variation selector."""
    return "-".join(part for part in text.upper().split("-") if part != _INVISIBLE)


def base_of(parent: str) -> str:
    """Return the concept of an emoji without tones (man firefighter: firefighter)."""
    parts = [_PERSON if part in _GENDERED_PERSONS else part for part in parent.split("-")]
    base = _SIGN.sub("", "-".join(parts))
    members = [part for part in parts if part != _JOINER]
    if len(members) > 1 and set(members) <= _FAMILY_MEMBERS:
        return "1F46A"
    return _SAME_CONCEPT.get(base, base)


def gender_of(label: str) -> Gender:
    """Return whose gender an English label states."""
    words = set(re.findall(r"[a-z]+", label.lower()))
    male, female = bool(words & _MALE), bool(words & _FEMALE)
    if male and female:
        return "mixed"
    return "man" if male else "woman" if female else ""


def colour_of(label: str) -> str:
    """Return the colour word of an English label, or nothing."""
    words = re.findall(r"[a-z]+", label.lower())
    spaced = f" {' '.join(words)} "
    return next((colour for colour in COLOURS if f" {colour} " in spaced), "")


def read_captions(tarball: Path) -> list[Caption]:
    """Return every emoji of the captions package, in order.

    Raises:
        DamagedData: The package is no emojibase data.
    """
    names = member_names(tarball)
    languages = sorted(
        n.split("/")[0] for n in names if re.fullmatch(r"[a-z]{2}(-[a-z]+)?/data\.json", n)
    )
    if "en" not in languages:
        raise DamagedData(f"{tarball.name} has no English captions; found {languages}")
    tables = {language: _entries(tarball, language) for language in languages}
    groups = read_json(tarball, "meta/groups.json")
    try:
        captions = [_caption(hexcode, tables, groups) for hexcode in tables["en"]]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DamagedData(f"{tarball.name} holds an entry without {error}") from error
    return sorted(captions, key=lambda caption: (caption.order, caption.hexcode))


_NO_ORDER = 1 << 20


def _entries(tarball: Path, language: str) -> dict[str, dict[str, Any]]:
    """Return one language: hexcode to entry; tones are entries too, with their parent's tags."""
    listed = read_json(tarball, f"{language}/data.json")
    entries: dict[str, dict[str, Any]] = {}
    try:
        for entry in listed:
            parent = normal_hexcode(entry["hexcode"])
            for one in (entry, *entry.get("skins", ())):
                words = {"parent": parent, "tags": entry.get("tags", ())}
                entries[normal_hexcode(one["hexcode"])] = {**one, **words}
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedData(
            f"{tarball.name}: {language}/data.json holds an entry without {error}"
        ) from error
    return entries


def _caption(
    hexcode: str, tables: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Any]
) -> Caption:
    entry = tables["en"][hexcode]
    here = {language: table.get(hexcode, {}) for language, table in tables.items()}
    tone = entry.get("tone", ())
    # Letters for flags belong to no group.
    group, subgroup = entry.get("group"), entry.get("subgroup")
    group = "component" if group is None else groups["groups"][str(group)]
    gender = gender_of(entry["label"]) if group == "people-body" else ""
    return Caption(
        hexcode=hexcode,
        parent=entry["parent"],
        base=base_of(entry["parent"]),
        order=int(entry.get("order", _NO_ORDER)),
        group=group,
        subgroup="letter" if subgroup is None else groups["subgroups"][str(subgroup)],
        tones=(tone,) if isinstance(tone, int) else tuple(map(int, tone)),
        gender=gender,
        colour=colour_of(entry["label"]),
        labels={language: str(found.get("label", "")) for language, found in here.items()},
        tags={language: tuple(found.get("tags", ())) for language, found in here.items()},
    )
