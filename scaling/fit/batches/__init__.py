"""Laws of batches and steps: the critical batch, L(N, S_min), and what they answer."""
