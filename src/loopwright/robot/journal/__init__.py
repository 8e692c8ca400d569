"""The journal of a fleet: what happened, in order; everything else is folded from it."""
