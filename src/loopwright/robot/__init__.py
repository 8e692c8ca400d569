"""An operating system for robots: tasks, skills, memory, journal, scheduler and their wires."""
