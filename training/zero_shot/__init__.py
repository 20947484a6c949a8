"""Zero-shot evaluation; `python -m training.zero_shot` (`__main__`) is its command."""
