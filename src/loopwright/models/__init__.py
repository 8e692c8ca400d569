"""Networks: one backbone in ``layers``, one folder per family."""
