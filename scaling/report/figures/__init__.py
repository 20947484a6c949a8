"""The figures of a report: described once, drawn in print and on the page."""
