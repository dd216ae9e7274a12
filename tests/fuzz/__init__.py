"""Whatever goes in, out comes a result or a sentence: properties over every kind of input.

Two profiles of hypothesis, chosen by ``HYPOTHESIS_PROFILE``: 'suite' (default; few
cases, the same in every run) and 'fuzz' (``FUZZ_CASES`` of each property, new ones in
every run). ``make fuzz`` runs the second and prints figures; see ``tests/fuzz/run.py``.
"""
import os

from hypothesis import HealthCheck, Phase, settings

# without the phase that explains: it runs failing cases hundreds of times more
_COMMON = dict(deadline=None, print_blob=True,
               phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
               suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large,
                                      HealthCheck.filter_too_much,
                                      HealthCheck.function_scoped_fixture])
settings.register_profile('suite', max_examples=25, derandomize=True, **_COMMON)
settings.register_profile('fuzz', max_examples=int(os.environ.get('FUZZ_CASES', 1000)), **_COMMON)
settings.load_profile(os.environ.get('HYPOTHESIS_PROFILE', 'suite'))
