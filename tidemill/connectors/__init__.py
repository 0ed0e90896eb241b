"""Everything that knows a billing system's own words."""
