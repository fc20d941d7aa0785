"""The Greenroom server: everything that knows HTTP, argv or a vendor."""

__version__ = "0.1.0"
