"""What Inductor's code for a GPU does to its memory, counted where there is none."""
