"""Understanding plain instructions without a model: English and Chinese, over known things.

A small controlled language. What it does not understand it says, word by word; what could mean two
things it asks about; it never guesses.
"""
