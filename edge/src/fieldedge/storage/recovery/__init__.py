"""What of a damaged store can still be read, and a new one made of it."""
