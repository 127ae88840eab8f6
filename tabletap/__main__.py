"""``python -m tabletap``."""

import sys

from tabletap.cli import main

sys.exit(main())
