"""The image that Binder makes of this repository, and the wheel, without Docker and Node."""
