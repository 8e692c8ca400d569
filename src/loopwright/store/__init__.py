"""What is kept: ledger, objects, episodes, snapshots, in one workspace folder."""
