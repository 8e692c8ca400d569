"""What became of tasks that were published together, as RoboOS's clients publish them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from loopwright.core.errors import InvalidConfig, StorageError
from loopwright.robot.wires.desk import Desk
from loopwright.robot.wires.views import Plain

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(slots=True)
class _Published:
    """One text, the task that it became, and why it became none."""

    text: str
    task: str | None = None
    refusal: str = ""


class Publication:
    """Asks for tasks, and tells the truth about each: nothing is half refused unsaid."""

    def __init__(self, desk: Desk, role: str, task_id: str | None) -> None:
        """Begin one.

        Args:
            desk: Whom to ask.
            role: Who asks.
            task_id: The id that the task gets; of several, each has its number behind it.

        Raises:
            InvalidConfig: That could be no id.
        """
        if task_id is not None and not _ID.fullmatch(task_id):
            raise InvalidConfig(
                f"task_id {task_id!r}: expected at most 64 letters, digits, dots, - and _, "
                "a letter or digit first"
            )
        self._desk, self._task_id, self._by = desk, task_id, f"{role} over publish_task"
        self._each: list[_Published] = []

    def ask(self, texts: list[str]) -> None:
        """Ask for all.

        Raises:
            InvalidConfig: There is a task of that id; none was taken on.
            StorageError: None was taken on.
        """
        self._each = [_Published(text) for text in texts]
        for number, one in enumerate(self._each, start=1):
            suffix = f"-{number}" if len(texts) > 1 else ""
            identity = f"{self._task_id}{suffix}" if self._task_id else None
            try:
                one.task = self._desk.ask(one.text, by=self._by, task=identity)
            except (InvalidConfig, StorageError) as error:
                if number == 1:
                    raise
                one.refusal = str(error)  # those before it are taken on all the same

    def is_planned(self) -> bool:
        """Tell whether nobody needs to wait for a plan any longer.

        Raises:
            StorageError: Nobody directs the fleet any more.
        """
        return not any(self._is_thought_about(one) for one in self._each)

    def _is_thought_about(self, one: _Published) -> bool:
        if one.task is None or one.refusal:
            return False
        stands = self._desk.awaited(one.task)
        if stands["status"] == "ended" and self._desk.roboos_plan(one.task) is None:
            one.refusal = stands["reason"] or "it ended without a plan"
        return stands["status"] == "planning"

    def answer(self) -> tuple[int, Plain]:
        """Return the code of HTTP and the body; 200 is only where every task has a plan."""
        refused = [one for one in self._each if one.refusal]
        plans = [self._plan(one) for one in self._each]
        why = "; ".join(f"{one.text!r} is refused: {one.refusal}" for one in refused)
        told: Plain = {"status": "success", "message": "Task published successfully"}
        code = 200
        if len(refused) == len(self._each):
            code, told = 422, {"error": "refused", "status": "refused", "message": why}
        elif refused:
            some = f"{len(plans) - len(refused)} of {len(plans)} tasks are taken on"
            code, told = 207, {"status": "partly refused", "message": f"{some}; {why}"}
        elif None in plans:
            asked = "taken on, and still without a plan; ask /tasks/ID/result"
            code, told = 202, {"status": "planning", "message": asked}
        told["data"] = plans[0] if len(plans) == 1 else plans
        told["tasks"] = [one.task for one in self._each]
        return code, told

    def _plan(self, one: _Published) -> Plain | None:
        return None if one.task is None or one.refusal else self._desk.roboos_plan(one.task)
