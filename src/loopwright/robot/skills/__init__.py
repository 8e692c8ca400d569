"""Scripted skills: bodies of motion for arms and bases."""
