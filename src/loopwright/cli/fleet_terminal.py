"""The terminal of a running fleet: the picture, and the keys. The stop is a key of its own."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from loopwright.cli.fleet_door import FleetDoor, FleetRefused, FleetSilent
from loopwright.cli.fleet_view import Said, draw
from loopwright.cli.fleet_words import style_of
from loopwright.core.errors import LoopwrightError
from loopwright.robot.fleet.fleet import Fleet
from loopwright.robot.journal import events as happened
from loopwright.robot.journal.journal import Entry
from loopwright.robot.journal.words import sentence

_LOOK_EVERY_S = 0.5
_KEPT_LINES = 200
STOP_KEYS = ("s", "\x13")
"""``s``; and control-s, also while an instruction is being typed."""
_ENTER, _ESCAPE, _BACKSPACE = ("\r", "\n"), "\x1b", ("\x7f", "\b")
_HELP = " s stop all robots   a ask   p page   q end "


class FleetTerminal:
    """Shows a fleet and hears keys, until somebody ends it."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self.page = ""
        """Where the page is, with a token."""
        self._lines: deque[Said] = deque(maxlen=_KEPT_LINES)
        self._robots: dict[str, str] = {}
        self._typed: str | None = None
        self._said = ""
        self._ended = threading.Event()

    def take(self, entry: Entry) -> None:
        """Take in an event of the journal."""
        clock = time.strftime("%H:%M:%S", time.localtime(entry.time_s))
        event = entry.event
        if isinstance(event, happened.IntentIssued):
            self._robots[event.intent] = event.robot
        text = sentence(event)
        if isinstance(event, (happened.IntentStarted, happened.IntentEnded)):
            text = f"{self._robots.get(event.intent, '')} {text}".strip()
        self._lines.append(Said(clock, text, style_of(event)))

    def run(self, fleet: Fleet, door: FleetDoor, console: Console) -> None:
        """Show a fleet until ``q`` or control-c."""
        with _keys(lambda key: self.hear(key, fleet)), Live(console=console, screen=True) as live:
            while not self._ended.is_set():
                live.update(self._picture(door, console), refresh=True)
                self._ended.wait(_LOOK_EVERY_S)

    def hear(self, key: str, fleet: Fleet) -> None:
        """Do what a key stands for."""
        if key == STOP_KEYS[1] or (self._typed is None and key == STOP_KEYS[0]):
            self._stop(fleet)
        elif self._typed is not None:
            self._type(key, fleet)
        elif key == "a":
            self._typed, self._said = "", ""
        elif key == "p":
            self._said = f" {self.page} "
        elif key == "q":
            self._ended.set()

    def _stop(self, fleet: Fleet) -> None:
        try:
            fleet.stop(None, by="operator at the terminal")
            self._said = " stop pressed "
        except LoopwrightError as error:
            self._said = f" the stop went out, but: {error} "

    def _type(self, key: str, fleet: Fleet) -> None:
        assert self._typed is not None
        if key in _ENTER:
            instruction, self._typed = self._typed.strip(), None
            if instruction:
                try:
                    fleet.coordinator.ask(instruction, by="operator at the terminal")
                except LoopwrightError as error:
                    self._said = f" not taken on: {error} "
        elif key == _ESCAPE:
            self._typed = None
        elif key in _BACKSPACE:
            self._typed = self._typed[:-1]
        elif key.isprintable():
            self._typed += key

    def _picture(self, door: FleetDoor, console: Console) -> RenderableType:
        foot = f"{_HELP}{self._said}"
        if self._typed is not None:
            foot = f" ask: {self._typed}▏   enter sends, escape leaves, control-s stops all robots "
        try:
            seen = door.ask("GET", "/fleet")
        except (FleetSilent, FleetRefused) as error:
            return Text(f"{error}\n\n{foot}")
        width, height = console.size
        return draw(seen, tuple(self._lines), foot, width=width, height=height)


@contextmanager
def _keys(hear: Callable[[str], None]) -> Iterator[None]:
    """Hear every key as it is pressed, in a thread that waits for nothing else."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    ended = threading.Event()

    def listen() -> None:
        while not ended.is_set():
            if select.select([terminal], [], [], 0.1)[0]:
                for key in os.read(terminal, 256).decode(errors="replace"):
                    hear(key)

    changed = termios.tcgetattr(terminal)
    changed[0] &= ~termios.IXON  # control-s is ours
    changed[3] &= ~(termios.ICANON | termios.ECHO)
    thread = threading.Thread(target=listen, name="keys", daemon=True)
    try:
        termios.tcsetattr(terminal, termios.TCSADRAIN, changed)
        thread.start()
        yield
    finally:
        ended.set()
        thread.join(timeout=2.0)
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
