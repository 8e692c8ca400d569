"""Which robot does what when: expected durations, schedules of all open tasks, and lateness."""
