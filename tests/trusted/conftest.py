# SPDX-License-Identifier: ISC
"""How hypothesis works here: no clock decides whether a test passes."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    'untimed', deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile('untimed')
