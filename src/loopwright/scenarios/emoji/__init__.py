"""Emoji drawings with captions in 28 languages: real pictures and texts that belong together."""
