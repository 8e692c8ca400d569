"""Evaluation: what a model can do, as small tasks with a verifier and an honest interval.

A :class:`~loopwright.train.evaluate.task.Task` holds items, asks the model, and judges each answer
without the model's help; :func:`~loopwright.train.evaluate.run.evaluate` runs it;
:mod:`~loopwright.train.evaluate.contamination` tells whether the model had learned the items.
"""
