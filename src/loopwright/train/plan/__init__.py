"""Planning trainings that are too large for this machine, by calculation on the meta device.

The real model is built without memory, counted, spread by the trainer's own code over processes
that exist in name only, and sent once forwards and backwards; memory and operations are read off
that pass. Times follow from a machine that is stated. Nothing of it is measured on one, and
nothing here was trained.
"""
