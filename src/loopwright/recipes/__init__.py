"""Named configurations that join the rooms. A recipe is a function of no argument."""
