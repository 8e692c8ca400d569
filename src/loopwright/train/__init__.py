"""Training: from episodes to sealed candidates."""
