"""Figures, films and pages: what a person looks at after a run.

:mod:`~loopwright.report.run` holds the data, :mod:`~loopwright.report.page` draws them as one HTML
file and :mod:`~loopwright.report.terminal` as tables for a terminal.
"""
