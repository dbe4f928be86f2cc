# SPDX-License-Identifier: ISC
"""`python3 -m plainbox_launcher` does what plainbox(1) does."""

import sys

from .cli import main

sys.exit(main())
