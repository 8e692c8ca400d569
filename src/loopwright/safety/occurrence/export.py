"""An occurrence in the fields of public incident databases; what is not known is named.

Fields of the AI Incident Database: those of its incident documents. Of the OECD: incident or
hazard, and the dimensions of harm in its papers on defining AI incidents. The list of all criteria
of the OECD's reporting framework was not at hand when this was written. Neither has a place for the
state of a robot or for digests, so these stand beside, under ``loopwright``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from loopwright.core.digest import Json
from loopwright.core.errors import DamagedData, UnknownName
from loopwright.safety.occurrence.inquiry import Inquiry
from loopwright.safety.occurrence.record import Occurrence

AIID_FIELDS = (
    "incident_id",
    "title",
    "description",
    "date",
    "Alleged deployer of AI system",
    "Alleged developer of AI system",
    "Alleged harmed or nearly harmed parties",
    "implicated_systems",
    "reports",
    "editors",
    "editor_notes",
)
OECD_FIELDS = (
    "title",
    "description",
    "date",
    "kind",
    "harm_type",
    "harm_severity",
    "harm_scale",
    "harm_geographical_reach",
    "harm_tangibility",
    "harm_quantifiability",
    "harm_materialisation",
    "harm_reversibility",
    "harm_recurrence",
    "affected_stakeholders",
    "ai_system",
    "country",
    "industry",
    "submitter",
)


def export_occurrence(inquiry: Inquiry, said: Mapping[str, Json] | None = None) -> dict[str, Any]:
    """Return an occurrence as plain data in both sets of fields.

    Args:
        inquiry: The occurrence and its investigation.
        said: Fields that only a person knows, by the name in either set: deployer, country.

    Returns:
        ``{"aiid": ..., "oecd": ..., "loopwright": ...}``; in the first two the missing fields are
        listed under ``missing``, and are null.

    Raises:
        UnknownName: A field is in neither set.
    """
    said = dict(said or {})
    known = {*AIID_FIELDS, *OECD_FIELDS}
    for name in said:
        if name not in known:
            raise UnknownName("field of an incident database", name, known)
    own = _own(inquiry)
    return {
        "aiid": _filled(AIID_FIELDS, {**own, **_aiid(inquiry), **said}),
        "oecd": _filled(OECD_FIELDS, {**own, **_oecd(inquiry), **said}),
        "loopwright": _ours(inquiry),
    }


def _own(inquiry: Inquiry) -> dict[str, Any]:
    predicate: Any = inquiry.entry.statement.predicate
    when_s = predicate.get("happened_s", inquiry.entry.time_s)
    reports = [report.text for _, report in inquiry.reports]
    return {
        "title": predicate["what"],
        "description": "\n\n".join([predicate["what"], *reports]),
        "date": datetime.fromtimestamp(when_s, UTC).date().isoformat(),
    }


def _aiid(inquiry: Inquiry) -> dict[str, Any]:
    predicate: Any = inquiry.entry.statement.predicate
    systems = [predicate.get("robot"), predicate.get("candidate")]
    return {
        "implicated_systems": [name for name in systems if name and name != "none"] or None,
        "editor_notes": f"digest of the occurrence: {inquiry.entry.digest}",
    }


def _oecd(inquiry: Inquiry) -> dict[str, Any]:
    predicate: Any = inquiry.entry.statement.predicate
    harmed = inquiry.harm != "none"
    return {
        "kind": "incident" if harmed else "hazard",
        "harm_type": "physical" if harmed else None,
        "harm_severity": inquiry.harm if harmed else None,
        "harm_materialisation": "actual" if harmed else "potential",
        "ai_system": predicate.get("robot"),
    }


def _ours(inquiry: Inquiry) -> dict[str, Any]:
    """Return what the databases have no field for."""
    finding = inquiry.finding
    return {
        "occurrence": inquiry.entry.digest,
        "state": inquiry.state,
        "record": _record(inquiry),
        "causes": [line for cause in inquiry.causes for line in cause.lines()],
        "recommendations": [
            {"id": item.id, "text": item.text, "answer": inquiry.answers.get(item.id)}
            for item in inquiry.recommendations
        ],
        "outcome": dict(finding[0].statement.predicate) if finding else None,
    }


def _record(inquiry: Inquiry) -> dict[str, Any] | None:
    """Return the digests and events; without the instruction, which may name people."""
    try:
        occurrence = Occurrence.from_statement(inquiry.entry.statement)
    except DamagedData:
        return None
    return {
        "flight": occurrence.flight,
        "candidate": occurrence.candidate,
        "certificate": occurrence.certificate,
        "filter": occurrence.filter,
        "evidence": occurrence.evidence,
        "events": [event.to_json() for event in occurrence.events],
    }


def _filled(names: tuple[str, ...], values: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: values.get(name) for name in names}
    return {**fields, "missing": [name for name, value in fields.items() if value is None]}
