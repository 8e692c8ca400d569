"""The ladder: what stands between any policy and any actuator, one file a rung.

In the order in which a request climbs: :mod:`sanitise`, :mod:`clamp`, :mod:`envelope`,
:mod:`slew`, :mod:`lookahead`, :mod:`residual`, :mod:`brake`. :mod:`filter` runs them;
:mod:`situation` is what they all see. Nothing here reads a clock, touches a file or draws a
random number: the same requests and measurements give the same decisions.
"""

from loopwright.safety.ladder.filter import ALL, Rungs, SafetyFilter

__all__ = ["ALL", "Rungs", "SafetyFilter"]
