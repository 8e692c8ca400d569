"""Trained models at work elsewhere: smaller, in other formats, and behind a web address."""
