"""The agent of one robot: hears orders, has skills run, looks around, reports, and never lies."""
