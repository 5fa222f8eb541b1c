"""How many examples property tests try: a share by default, all of them with fresh seeds in deep runs.

`fast`, the default, tries the same examples every time, so that only a change turns a test red;
`pytest --hypothesis-profile=deep` (`make test-deep`) searches on with new ones.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings

DEFAULT_EXAMPLES = 100
FAST_SHARE = 4
MIN_EXAMPLES = 10

settings.register_profile(
    "fast", derandomize=True, deadline=None, max_examples=DEFAULT_EXAMPLES // FAST_SHARE
)
settings.register_profile("deep", deadline=None, max_examples=DEFAULT_EXAMPLES, print_blob=True)
settings.load_profile("fast")


def examples(count: int = DEFAULT_EXAMPLES, **options: Any) -> settings:
    """`hypothesis.settings` of a test that tries `count` examples in deep runs, else a quarter of them."""
    if settings.get_current_profile_name() == "fast":
        count = max(MIN_EXAMPLES, count // FAST_SHARE)
    return settings(max_examples=count, **options)
