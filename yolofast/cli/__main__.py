"""`python -m yolofast.cli`."""

import sys

from yolofast.cli.entry import main

sys.exit(main())
