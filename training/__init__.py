"""The trainer; re-exports nothing: planning and fitting import its configs without torch."""

from training.device.allocator import let_segments_grow

let_segments_grow()  # here, since everything that trains comes by before it imports torch
