"""Rounds: act, verify, learn, gate, promote, operate, again."""
