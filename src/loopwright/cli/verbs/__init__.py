"""The verbs of the command, a module each; ``main`` is what the verb does."""
