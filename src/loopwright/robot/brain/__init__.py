"""The brain: from what somebody says to a graph that holds, in symbols, before anything moves."""
