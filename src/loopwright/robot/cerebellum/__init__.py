"""The cerebellum of one robot: runs the bodies of skills at a fixed tick, through the guard."""
