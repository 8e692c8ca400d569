"""A fleet put together: world, guards, agents, coordinator, and the folder that they live in."""
