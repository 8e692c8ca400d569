"""Looking at recorded episodes: a page of a snapshot, and tables and pictures for a terminal.

:mod:`~loopwright.report.episodes.gather` reads a snapshot into the plain data of
:mod:`~loopwright.report.episodes.story`; a page or a table is a pure function of those.
"""
