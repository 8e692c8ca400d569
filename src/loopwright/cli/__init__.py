"""The one command. Data goes to stdout, progress to stderr; this is the only room that prints.

Exit codes: 0 done, 1 it failed (the message says what to do), 2 the command was typed wrong,
3 it waits for a person (the message says for what; then run it again),
130 interrupted (running it again goes on from there).
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from loopwright import __version__
from loopwright.core.errors import LoopwrightError, UnknownName, UsageError

VERBS: dict[str, str] = {
    "run": "turn a scenario into a model that keeps improving; running again resumes",
    "status": "where the runs of a workspace stand",
    "history": "every round, gate and promotion of a run",
    "explain": "why a challenger was or was not promoted",
    "rollback": "make the previous champion the champion again",
    "deploy": "hand the champion of a run out, with the certificate it holds",
    "train": "train a model from a recipe, without a loop around it",
    "plan": "calculate what a training would need on many accelerators; nothing is trained",
    "finetune": "teach a language model from disk: replies or preferences, adapters or in full",
    "scale": "train a grid of small models, and plan larger ones by their scaling law",
    "density": "how many parameters of a study's family a model is worth, over its own",
    "paint": "paint pictures of a text",
    "caption": "write about pictures",
    "quantise": "make a model smaller: 8 or 4 bits a weight, if it still agrees",
    "export": "write a model as ONNX, checked against the original",
    "serve": "answer requests with a model, in the words of OpenAI's API",
    "score": "ask a model a task: captions, paintings, perplexity, chat; with intervals",
    "evaluate": "judge any policy on a scenario, alone or against another at the gate",
    "report": "write the report page of a run again",
    "gallery": "one HTML page of what a text-picture model paints and writes",
    "new": "scaffold a scenario of your own",
    "data show": "snapshots, the episodes of one, or one episode",
    "data select": "choose episodes by rules; the choice is a snapshot",
    "data label": "add a verdict or a note beside episodes",
    "data page": "one HTML file to browse the episodes of a snapshot",
    "data export": "write episodes in the formats of others (LeRobot)",
    "data import": "record the episodes of a LeRobot dataset",
    "data fetch": "get public data that is not part of the repository (emoji)",
    "data gc": "free space that nothing names: to the trash first, for good later",
    "data doctor": "what is wrong with recorded data, and mend what can be mended",
    "blackbox verify": "whether a flight recording is what was recorded, and what was done to it",
    "blackbox show": "what a flight recording tells: reasons, margins, events",
    "blackbox export": "a flight recording as MCAP, for viewers",
    "blackbox replay": "fly a recording again in simulation, and compare bit by bit",
    "register new": "begin the signed, append-only register of a site",
    "register show": "what is registered at a site, verified while it is read",
    "register evidence": "sign what was done or measured, and register it",
    "register deployment": "sign what runs where, and register it",
    "tower": "renew the leases of deployments; when it ends, they stop",
    "directive issue": "order every affected deployment to stop, slow down or be inspected",
    "directive list": "the directives in force",
    "directive close": "a deployment did what a directive asks, with evidence",
    "directive alternative": "approve that something else is done instead, until some moment",
    "directive release": "end a directive, on evidence",
    "who": "who proposed, tested, approved, grounded and released a deployment",
    "assurance": "whether what is claimed of a robot still holds, by the register",
    "occurrence open": "what went wrong in flights: evidence frozen, a scenario made, registered",
    "occurrence stage": "a drill: from a staged violation to a scenario in the suite, timed",
    "occurrence list": "the occurrences of a site, and what is overdue",
    "occurrence show": "what happened, whether the evidence is as frozen, causes and clocks",
    "occurrence investigate": "say what was found out, with causes and recommendations",
    "occurrence close": "what comes of an occurrence: directive, scenario, rule, or why nothing",
    "occurrence export": "an occurrence in the fields of public incident databases",
    "occurrence recheck": "old certificates against new scenarios; suspend those that fail",
    "reports box": "set up a box for voluntary reports, and the key that opens it",
    "reports new": "tell the investigator, and nobody else, what you saw",
    "reports list": "read what was reported, with the investigator's key",
    "cell stop": "the stop button of a guarded cell",
    "cell release": "end the newest stop of a cell, signed by an operator",
    "up": "start a fleet of simulated robots, and have instructions carried out",
    "ask": "have a running fleet carry out an instruction",
    "robot status": "how the robots of a running fleet stand",
    "robot tasks": "what a fleet was asked for, and what became of it",
    "robot episodes": "what a fleet attempted, as data; what failed, as scenarios",
    "robot explain": "one task, from the spoken instruction to the joint commands",
    "robot cancel": "give up a task of a fleet",
    "robot pause": "begin no further step of a task",
    "robot resume": "let a paused task go on",
    "robot ros2": "a fleet on a ROS 2 network, without ROS installed",
    "robot stop": "emergency stop of one robot or of the whole fleet",
    "robot release": "end a stop, signed, with what was found and done",
    "keys new": "a key pair for a person or a device, on the key ring",
    "keys ring": "whose keys are trusted, and with what",
    "certify": "test a candidate by a registered plan, and propose its certificate",
    "certificate approve": "the second signature, of another person, after a recount",
    "certificate object": "turn a proposed certificate down, for good, and say why",
    "certificate show": "what a certificate says",
    "certificate verify": "whether exactly this combination may move, now",
    "list": "the scenarios, recipes and policy families that can be named",
}
"""Verb to one line of help; each lives in :func:`module_of` it as ``main``."""

EXIT_FAILED, EXIT_USAGE, EXIT_WAITING, EXIT_INTERRUPTED = 1, 2, 3, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _answer(arguments)
        sys.stdout.flush()  # here, where a reader that has gone is noticed
        return code
    except UsageError as error:
        print(f"loopwright: {error}", file=sys.stderr)
        return EXIT_USAGE
    except LoopwrightError as error:
        print(f"loopwright: {type(error).__name__}: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("loopwright: interrupted; run the same command again to go on", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (``| head``); there is nobody left to tell. What is
        # still to be written goes nowhere, or the interpreter would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED


def _answer(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if arguments[0] == "--version":
        print(f"loopwright {__version__}")
        return 0
    return _verb(arguments)


def module_of(verb: str) -> str:
    """Return the name of a verb's module; the words of ``"data show"`` are joined by ``_``."""
    return f"loopwright.cli.verbs.{verb.replace(' ', '_')}"


def _verb(arguments: Sequence[str]) -> int:
    words = 2 if " ".join(arguments[:2]) in VERBS else 1
    name, rest = " ".join(arguments[:words]), arguments[words:]
    if name not in VERBS:
        if group := [verb for verb in VERBS if verb.startswith(f"{name} ")]:
            raise UsageError(f"'{name}' needs a second word; there are: {', '.join(group)}")
        raise UnknownName("verb", name, VERBS)
    module = importlib.import_module(module_of(name))
    import tyro  # here, so that the overview stays fast

    try:
        outcome = tyro.cli(
            module.main, prog=f"loopwright {name}", args=rest, description=VERBS[name]
        )
    except SystemExit as stop:  # tyro's way to say that help was shown or an argument was wrong
        return int(stop.code or 0)
    return int(outcome or 0)


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {help_line}" for verb, help_line in VERBS.items()]
    return "\n".join(
        [
            "usage: loopwright VERB [arguments]",
            "",
            "From a scenario with a checkable outcome to a model that keeps getting better at it.",
            "",
            *lines,
            "",
            "'loopwright VERB --help' explains a verb. Start with: loopwright run button-press",
        ]
    )
