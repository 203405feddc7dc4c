"""What ours is measured beside, one folder each, and how it is started."""
