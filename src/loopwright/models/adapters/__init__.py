"""Foreign policies as candidates: a Python function, a LeRobot policy folder."""
