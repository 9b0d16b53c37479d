"""Defines what all tables share: the registry that they enter, and the types of amounts and times.

Ask ``schema.py`` for the registry with all tables in it.
"""

from sqlalchemy import DateTime, MetaData, Numeric
from sqlalchemy.dialects.postgresql import DOMAIN

metadata = MetaData()

MinorUnits = DOMAIN("minor_units", Numeric(), create_type=False)
"""The type of whole numbers of any size. The domain refuses fractions, NaN and infinity."""

Timestamp = DateTime(timezone=True)
