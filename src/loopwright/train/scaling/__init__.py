"""Scaling: what a family of models will do at a size nobody has trained yet.

The way of a study: a :class:`~loopwright.train.scaling.grid.Grid` of sizes and tokens is trained,
:func:`~loopwright.train.scaling.fit.fit` finds the law, and from the law come a
:func:`~loopwright.train.scaling.plan.plan` for a budget, a
:func:`~loopwright.train.scaling.predict.predict` for one run, and the
:func:`~loopwright.train.scaling.density.density` of a model. NumPy only; torch is not needed.
"""
