"""A point that is steered to a goal in the plane: the smallest whole scenario, NumPy only.

It needs no simulator and runs an episode in milliseconds, so it is what tests, examples and fault
benchmarks turn the loop with. It says nothing about manipulation.
"""
