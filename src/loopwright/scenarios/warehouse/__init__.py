"""Skills of the warehouse's robots as scenarios: what the fleet does, to learn it and prove it.

Physics, layout and motions are those of the fleet (:mod:`loopwright.simulation.warehouse`), so what
a fleet recorded and what is practised here are episodes of the same scenarios.
"""
