"""What a grade looks like, for people and for platforms."""
