"""Certificates: what exactly was tested, how often it failed, and who two people answer for it.

The way of one: an :class:`~loopwright.safety.certificate.identity.Identity` says what it is about,
a :class:`~loopwright.safety.certificate.plan.TestPlan` is registered before the first episode, a
:class:`~loopwright.safety.certificate.campaign.Campaign` logs every episode and weighs the claims,
:func:`~loopwright.safety.certificate.issue.issue` and
:func:`~loopwright.safety.certificate.issue.approve` sign, and
:func:`~loopwright.safety.certificate.verify.verify_certificate` is asked before anything moves.

A certificate is evidence from simulation about one combination of files. It is no conformity with
any standard.
"""
