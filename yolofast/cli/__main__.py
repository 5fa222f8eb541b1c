"""`python -m yolofast.cli`."""

import sys

from yolofast.cli import main

sys.exit(main())
