"""Learning from what another model believes, not from what happened alone.

Hinton et al., "Distilling the Knowledge in a Neural Network" (2015). Shapes: V choices.
"""

from __future__ import annotations

from torch import Tensor


def distilled_nats(student_V: Tensor, teacher_V: Tensor, *, temperature: float) -> Tensor:
    """Return how far a student's beliefs are from a teacher's, both softened.

    The divergence is multiplied by the square of the temperature: its gradient then weighs as much
    beside that of the data, whatever the temperature.

    Args:
        student_V: Scores ``(..., V)`` before the soft-max; gradients flow through them.
        teacher_V: Scores of the same shape.
        temperature: 1 compares beliefs as they are; more brings out what is merely unlikely.

    Returns:
        Nats ``(...)``, float32; 0 where both believe the same.
    """
    believed_V = (teacher_V.float() / temperature).log_softmax(dim=-1)
    guessed_V = (student_V.float() / temperature).log_softmax(dim=-1)
    return temperature**2 * (believed_V.exp() * (believed_V - guessed_V)).sum(dim=-1)
