"""Speed, next to peers."""
