"""AMDA: sixty WhatsApp accounts on one small server."""

from typing import Final

__version__: Final = "0.1.0"
"""The release; pyproject.toml says the same. Known without package metadata, which a checkout does not have."""
