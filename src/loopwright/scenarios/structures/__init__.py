"""Backbones of proteins as experiments found them: sequences with their torsions."""
