"""Full-text search: a projection of the session records that catches up when it is asked."""
