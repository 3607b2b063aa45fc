"""A running sandbox, as the sandbox's own tests have it."""

from tests.sandbox.conftest import *  # noqa: F403
