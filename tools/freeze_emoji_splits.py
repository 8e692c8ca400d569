"""Choose the frozen lists of the emoji: what is held out, and what is asked about.

Run once, before any training: ``python tools/freeze_emoji_splits.py``. It refuses to replace the
lists; with ``--replace`` it does, and every figure measured on the old ones is void. After that the
digest that it prints belongs into ``splits.py``.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from loopwright.core.digest import digest_bytes
from loopwright.core.seeds import generator
from loopwright.scenarios.emoji.captions import COLOURS
from loopwright.scenarios.emoji.corpus import VERSION, Emoji, load_emoji
from loopwright.scenarios.emoji.packages import CAPTIONS, DRAWINGS
from loopwright.scenarios.emoji.splits import from_json, sampling_weights

PLACE = Path(__file__).parents[1] / "src/loopwright/scenarios/emoji/splits.json"
SEED = 20250614

SIZES: Mapping[str, tuple[int, int]] = {
    "concept": (40, 60),
    "flag": (15, 30),
    "gender": (6, 12),
    "colour": (5, 9),
    "tone": (75, 150),
    "style": (25, 50),
    "language": (20, 40),
    "seen": (150, 150),
}
"""How many are tuned on and reported on: concepts, flags, roles, emoji, emoji a style, emoji a
language, emoji."""

LEAST_DIFFERENCE = 1.0
"""Mean difference, of 255 levels at 32 px, to every shown emoji of the same base. Some styles draw
a tone or a gender so alike that a model would be asked for what it has seen."""

LANGUAGES_THAT_SHARE_NAMES = (("es", "es-mx"), ("zh", "zh-hant"))
"""A name held out in one is held out in the other. British English repeats English, so none is."""

ROLES = ("person-role", "person-gesture", "person-activity", "person-sport", "person-fantasy")


class Chooser:
    """Takes emoji out, kind after kind; what is taken is gone for the next kind."""

    def __init__(self, emoji: Emoji) -> None:
        """Begin with every emoji free."""
        self.emoji = emoji
        self.hexcodes = list(dict.fromkeys(emoji.hexcode))
        first = {h: i for i, h in reversed(list(enumerate(emoji.hexcode)))}
        self.row = {h: first[h] for h in self.hexcodes}
        self.label = {h: str(emoji.labels("en")[i]) for h, i in self.row.items()}
        self.base = {h: str(emoji.base[i]) for h, i in self.row.items()}
        self.parent = {h: str(emoji.parent[i]) for h, i in self.row.items()}
        self.family: dict[str, list[str]] = defaultdict(list)
        self.siblings: dict[str, list[str]] = defaultdict(list)
        for h in self.hexcodes:
            self.family[self.base[h]].append(h)
            self.siblings[self.parent[h]].append(h)
        self.free = dict.fromkeys(self.hexcodes)

    def take(self, hexcodes: Iterable[str]) -> list[str]:
        """Hold emoji out; they must be free."""
        taken = sorted(hexcodes)
        for h in taken:
            del self.free[h]
        return taken

    def of(self, hexcode: str, column: np.ndarray) -> Any:
        """Return an emoji's value in a column that does not depend on the style."""
        return column[self.row[hexcode]]

    @cached_property
    def known_stems(self) -> Mapping[str, set[str]]:
        """Stem of a word of an English label or tag to the bases that use it."""
        tags, known = self.emoji.tags("en"), defaultdict(set)
        for h, i in self.row.items():
            for word in {*words(self.label[h]), *(w for tag in tags[i] for w in words(tag))}:
                known[stem(word)].add(self.base[h])
                known[word].add(self.base[h])
        return known

    def has_own_word(self, base: str) -> bool:
        """Whether a word of each of its labels can be known from no other concept."""
        return all(
            any(self._is_own(word, base) for word in words(self.label[h]))
            for h in self.family[base]
        )

    def _is_own(self, word: str, base: str) -> bool:
        """Whether neither the word's stem nor two words that make it up are used elsewhere."""
        cuts = ((word[:i], word[i:]) for i in range(3, len(word) - 2))
        halves = any(all(self._is_known(half, base) for half in pair) for pair in cuts)
        return not halves and not self._is_known(stem(word), base)

    def _is_known(self, word: str, base: str) -> bool:
        return bool(self.known_stems.get(word, set()) - {base})

    @cached_property
    def shared_pictures(self) -> set[str]:
        """Hexcodes that have, in some style, the very picture of another one."""
        users: dict[int, set[str]] = defaultdict(set)
        for picture, h in zip(self.emoji.picture, self.emoji.hexcode, strict=True):
            users[picture].add(h)
        return {h for found in users.values() if len(found) > 1 for h in found}

    @cached_property
    def pictures(self) -> Mapping[tuple[str, str], np.ndarray]:
        """Hexcode and style to a picture of 32 px."""
        wide = self.emoji.pixels.astype(np.float32)
        small = wide.reshape(len(wide), 32, 2, 32, 2, 3).mean(axis=(2, 4))
        keys = zip(self.emoji.hexcode, self.emoji.style, strict=True)
        return dict(zip(keys, small, strict=True))

    def stands_out(self, hexcode: str, others: Iterable[str]) -> bool:
        """Whether it looks different from all of the others in each style it is drawn in."""
        if hexcode in self.shared_pictures:
            return False
        for style in self.emoji.styles:
            mine = self.pictures.get((hexcode, style))
            for other in others:
                theirs = self.pictures.get((other, style))
                if mine is None or theirs is None:
                    continue
                if np.abs(mine - theirs).mean() < LEAST_DIFFERENCE:
                    return False
        return True


def words(text: str) -> list[str]:
    """Return the words of at least three letters."""
    return re.findall(r"[^\W\d_]{3,}", text.lower())


def stem(word: str) -> str:
    """Return what a word has in common with its plural and its other forms, roughly."""
    return word[:5] if len(word) > 5 else word.removesuffix("s")


def shuffled(items: Iterable[str], *stream: str) -> list[str]:
    """Return items in an order that the seed and the name of the stream fix."""
    ordered = sorted(items)
    return [ordered[i] for i in generator(SEED, *stream).permutation(len(ordered))]


def in_parts(items: Sequence[Any], kind: str) -> dict[str, list[Any]]:
    """Return the first items as ``tune`` and the next as ``report``."""
    tune, report = SIZES[kind]
    if len(items) < tune + report:
        raise SystemExit(f"{kind}: {len(items)} candidates, expected {tune + report}")
    return {"tune": list(items[:tune]), "report": list(items[tune : tune + report])}


def choose_concepts(chooser: Chooser) -> tuple[dict[str, list[str]], list[str]]:
    """Return concepts to hide, one emoji of each, and all their variants."""
    bases = [
        base
        for base, members in chooser.family.items()
        if chooser.of(members[0], chooser.emoji.group) not in ("flags", "component")
        and base in members
        and chooser.has_own_word(base)
        and not chooser.shared_pictures.intersection(members)
    ]
    parts = in_parts(shuffled(bases, "concept"), "concept")
    asked = {part: chooser.take(found) for part, found in parts.items()}
    variants = [h for found in asked.values() for base in found for h in chooser.family[base]]
    return asked, chooser.take(h for h in variants if h in chooser.free)


def choose_flags(chooser: Chooser) -> dict[str, list[str]]:
    """Return flags of countries to hide."""
    subgroup = chooser.emoji.subgroup
    every = [h for h in chooser.free if chooser.of(h, subgroup) == "country-flag"]
    flags = [
        h
        for h in every
        if chooser.has_own_word(chooser.base[h])
        and chooser.stands_out(h, (other for other in every if other != h))
    ]
    parts = in_parts(shuffled(flags, "flag"), "flag")
    return {part: chooser.take(chosen) for part, chosen in parts.items()}


def choose_genders(chooser: Chooser) -> dict[str, list[str]]:
    """Return roles with a gender, in all tones; the other gender and the role itself stay shown."""
    candidates: dict[str, list[list[str]]] = {"man": [], "woman": []}
    for base in shuffled(chooser.family, "gender"):
        members = [h for h in chooser.family[base] if h in chooser.free]
        by_gender = {
            gender: [h for h in members if chooser.of(h, chooser.emoji.gender) == gender]
            for gender in ("man", "woman", "mixed", "")
        }
        is_role = members and chooser.of(members[0], chooser.emoji.subgroup) in ROLES
        is_role = is_role and not any(chooser.of(h, chooser.emoji.tones)[1] for h in members)
        if not is_role or by_gender["mixed"] or not all(by_gender[g] for g in ("man", "woman", "")):
            continue
        for gender, mine in by_gender.items():
            others = [h for h in members if h not in mine]
            if gender in candidates and all(chooser.stands_out(h, others) for h in mine):
                candidates[gender].append(mine)
    return _balanced_genders(chooser, candidates)


def _balanced_genders(
    chooser: Chooser, candidates: Mapping[str, list[list[str]]]
) -> dict[str, list[str]]:
    """Take as many men as women for each part, never both of one role."""
    used: set[str] = set()
    chosen: dict[str, list[str]] = {}
    for part, count in zip(("tune", "report"), SIZES["gender"], strict=True):
        picked: list[str] = []
        for gender in ("man", "woman"):
            left = [c for c in candidates[gender] if chooser.base[c[0]] not in used]
            if len(left) < count // 2:
                raise SystemExit(f"gender: {len(left)} roles for {gender}, expected {count // 2}")
            for role in left[: count // 2]:
                used.add(chooser.base[role[0]])
                picked += role
        chosen[part] = chooser.take(picked)
    return chosen


def choose_colours(chooser: Chooser) -> dict[str, list[str]]:
    """Return coloured objects; other colours of it and other objects in its colour stay shown."""
    objects: dict[str, dict[str, str]] = defaultdict(dict)
    for h in chooser.free:
        colour = str(chooser.of(h, chooser.emoji.colour))
        if colour and chooser.of(h, chooser.emoji.group) not in ("people-body", "component"):
            objects[without_colour(chooser.label[h])][colour] = h
    objects = {name: found for name, found in objects.items() if len(found) > 1}
    left = {name: len(found) for name, found in objects.items()}
    uses = Counter(colour for found in objects.values() for colour in found)
    candidates = {h: (n, c) for n, found in objects.items() for c, h in found.items()}
    chosen: list[str] = []
    for h in shuffled(candidates, "colour"):
        name, colour = candidates[h]
        others = [other for c, other in objects[name].items() if c != colour]
        half = left[name] - 1 >= len(objects[name]) / 2
        if half and uses[colour] > 2 and chooser.stands_out(h, others):
            left[name] -= 1
            uses[colour] -= 1
            chosen.append(h)
    parts = in_parts(chosen, "colour")
    return {part: chooser.take(found) for part, found in parts.items()}


def without_colour(label: str) -> str:
    """Return an English label without its colour word."""
    return re.sub(rf"\b({'|'.join(COLOURS)})\b ?", "", label.lower())


def choose_tones(chooser: Chooser) -> dict[str, list[str]]:
    """Return emoji with one tone each; without a tone and with the four others they stay shown.

    Concepts take turns, so that the many roles do not crowd out the hands; so do the tones.
    """
    parents: dict[str, list[str]] = defaultdict(list)
    for parent in shuffled(chooser.siblings, "tone"):
        if parent in chooser.free and len(single_tones(chooser, parent)) == 5:
            parents[chooser.base.get(parent, parent)].append(parent)
    chosen: list[str] = []
    bases = shuffled(parents, "tone", "bases")
    for turn in range(max(map(len, parents.values()))):
        for base in bases:
            if turn < len(parents[base]):
                chosen += _one_tone(chooser, parents[base][turn], len(chosen))
    parts = in_parts(_mixed(chosen, "tone"), "tone")
    return {part: chooser.take(found) for part, found in parts.items()}


def _mixed(chosen: Sequence[str], kind: str) -> list[str]:
    """Shuffle as many of the first as are needed, so that both parts are alike."""
    return shuffled(chosen[: sum(SIZES[kind])], kind, "parts")


def _one_tone(chooser: Chooser, parent: str, turn: int) -> list[str]:
    """Return the emoji with the tone whose turn it is, or with the next one that stands out."""
    tones = single_tones(chooser, parent)
    for step in range(5):
        hexcode = tones[1 + (turn + step) % 5]
        others = [h for h in chooser.family[chooser.base[hexcode]] if h != hexcode]
        if chooser.stands_out(hexcode, others):
            return [hexcode]
    return []


def single_tones(chooser: Chooser, parent: str) -> dict[int, str]:
    """Return the free variants of an emoji by their one tone."""
    tones = chooser.emoji.tones
    free = [h for h in chooser.siblings[parent] if h in chooser.free]
    return {int(t[0]): h for h in free if (t := chooser.of(h, tones))[0] and not t[1]}


def choose_styles(chooser: Chooser) -> dict[str, dict[str, list[str]]]:
    """Return, for each style, emoji without variants that are not shown in it, but in others."""
    emoji = chooser.emoji
    drawn = Counter(emoji.hexcode)
    alone = [
        h
        for h in chooser.free
        if len(chooser.family[chooser.base[h]]) == 1
        and drawn[h] == len(emoji.styles)
        and h not in chooser.shared_pictures
        and chooser.of(h, emoji.group) != "component"
        and not chooser.of(h, emoji.colour)
    ]
    order = shuffled(alone, "style")
    size = sum(SIZES["style"])
    chosen: dict[str, dict[str, list[str]]] = {"tune": {}, "report": {}}
    for index, style in enumerate(emoji.styles):
        for part, found in in_parts(order[index * size : (index + 1) * size], "style").items():
            chosen[part][style] = sorted(found)
    return chosen


def choose_languages(chooser: Chooser) -> dict[str, dict[str, list[str]]]:
    """Return, for each language, emoji whose name in it is hidden; other tones keep theirs."""
    same = dict(LANGUAGES_THAT_SHARE_NAMES)
    chosen: dict[str, dict[str, list[str]]] = {"tune": {}, "report": {}}
    for language in chooser.emoji.languages:
        if language in ("en", "en-gb") or language in same.values():
            continue
        parts = in_parts(_mixed(_one_of_each_parent(chooser, language), "language"), "language")
        for part, found in parts.items():
            for member in (language, *([same[language]] if language in same else [])):
                chosen[part][member] = sorted(found)
    return chosen


def _one_of_each_parent(chooser: Chooser, language: str) -> list[str]:
    """Return emoji with a tone, one of each base, which has the others shown."""
    found: list[str] = []
    used: set[str] = set()
    for h in shuffled(chooser.free, "language", language):
        tones = single_tones(chooser, chooser.parent[h])
        others = [other for other in chooser.family[chooser.base[h]] if other != h]
        if (
            h in tones.values()
            and len(tones) >= 4
            and chooser.base[h] not in used
            and chooser.stands_out(h, others)
        ):
            used.add(chooser.base[h])
            found.append(h)
    return found


def choose_seen(chooser: Chooser, lists: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return emoji that are trained on, as often of each kind as training shows it."""
    empty = {"tune": [], "report": []}
    splits = from_json({"seen": empty, **lists})
    rows = splits.train_rows(chooser.emoji)
    of: dict[str, float] = defaultdict(float)
    for row, weight in zip(rows, sampling_weights(chooser.emoji, rows), strict=True):
        of[str(chooser.emoji.hexcode[row])] += weight
    # Not those that are hidden in one style, nor those that one cannot tell apart.
    held = {h for part in lists["style"].values() for found in part.values() for h in found}
    names = sorted(set(of) - held - chooser.shared_pictures)
    chance = np.array([of[h] for h in names])
    size = sum(SIZES["seen"])
    picked = generator(SEED, "seen").choice(names, size, replace=False, p=chance / chance.sum())
    parts = in_parts([str(h) for h in picked], "seen")
    return {part: sorted(found) for part, found in parts.items()}


def choose(emoji: Emoji) -> dict[str, Any]:
    """Return the plain data of all lists."""
    chooser = Chooser(emoji)
    concepts, variants = choose_concepts(chooser)
    lists: dict[str, Any] = {
        "hidden": variants,
        "concept": concepts,
        "flag": choose_flags(chooser),
        "gender": choose_genders(chooser),
        "colour": choose_colours(chooser),
        "tone": choose_tones(chooser),
    }
    lists["style"] = choose_styles(chooser)
    lists["language"] = choose_languages(chooser)
    lists["seen"] = choose_seen(chooser, lists)
    packages = [*DRAWINGS.values(), CAPTIONS]
    made_from = {package.name: package.version for package in packages}
    return {"format": 1, "seed": SEED, "corpus": VERSION, "packages": made_from, **lists}


def main() -> None:
    """Write the lists once."""
    if PLACE.exists() and "--replace" not in sys.argv[1:]:
        raise SystemExit(
            f"{PLACE.name} is frozen; --replace would void every figure measured on it"
        )
    data = text_of(choose(load_emoji(64))).encode()
    PLACE.write_bytes(data)
    print(f'DIGEST = "{digest_bytes(data)}"  # {len(data)} bytes')


def text_of(lists: Mapping[str, Any], indent: str = "") -> str:
    """Return JSON with a line for each list, so that changes can be reviewed."""
    lines = []
    for key, value in lists.items():
        inner = text_of(value, indent + " ") if isinstance(value, Mapping) else json.dumps(value)
        lines.append(f"{indent} {json.dumps(key)}: {inner}")
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


if __name__ == "__main__":
    main()
