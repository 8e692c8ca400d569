"""The guard: the only process that moves a robot, the watchdog that watches it, and their cell."""
