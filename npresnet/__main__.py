"""python -m npresnet"""

import sys

from .cli import main

sys.exit(main())
