"""A simulated arm of seven joints, with the ranges, speeds and torques of a Franka Emika Panda.

The links are capsules of our own; nothing of the maker's model is used. :mod:`model` writes the
scene, :mod:`plant` makes body, plant and limits of it.
"""
