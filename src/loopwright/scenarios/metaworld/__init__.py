"""Meta-World's manipulation tasks on MuJoCo as scenarios.

The data's way: :mod:`catalogue` names the tasks, :mod:`scenario` offers one as a scenario,
:mod:`world` simulates it, :mod:`renderer` draws it, :mod:`verifier` judges what was recorded.
"""
