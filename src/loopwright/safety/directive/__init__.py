"""Directives: signed orders that stop, restrict or call in every deployment they match."""
