"""The coordinator: carries tasks through their graphs, and tells the truth about how they end."""
