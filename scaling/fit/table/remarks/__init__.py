"""What to tell of a table: its columns' units and losses, and cells that are in another unit."""
