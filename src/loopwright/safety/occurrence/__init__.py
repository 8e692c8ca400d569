"""Occurrences: what went wrong, or nearly, and what came of it.

A flight is held against a rule (:mod:`.event`, :mod:`.violation`); what it finds opens an entry in
the register (:mod:`.record`, :mod:`.opening`) with frozen evidence (:mod:`.evidence`). It is
minimised (:mod:`.minimise`) to a scenario that happens again exactly (:mod:`.regression`, from
:mod:`.script` and :mod:`.configuration`, by :mod:`.rerun`), under which old certificates are tried
(:mod:`.recheck`). People investigate by clocks (:mod:`.inquiry`, :mod:`.clocks`); what comes of it
are directives, scenarios and :mod:`.rules`. :mod:`.export` speaks to public databases.
"""
