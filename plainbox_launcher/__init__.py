# SPDX-License-Identifier: ISC
"""Run exactly those root jobs that an administrator has installed.

Root executes this file on its way to the trusted room: nothing but the
version belongs in it.
"""

__version__ = '0.1.0'
