"""What a paper takes from a fit: figures, LaTeX, CSV and BibTeX, in the folder `paper`."""
