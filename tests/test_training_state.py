"""The network of several ranks: its graph is cut no more than the exchange of gradients needs."""

import torch
import torch.distributed as dist

from model.config import GPTConfig
from model.gpt import GPT
from training.device.backends import compiled, forget_graphs
from training.state import data_parallel

MEGABYTE = 2**20
KEPT: list[object] = []


def test_state_compiled_network_of_ranks_is_cut_at_few_places():
    """Torch's DDPOptimizer cuts after a first bucket of 1 MB and after each further bucket."""
    model = GPT(GPTConfig(2, 12, 768, 16, 256, 0.02), torch.Generator().manual_seed(0))
    parts = []

    def count(graph, _):
        parts.append(graph)
        return graph.forward

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    # Its end would wait for its thread, which may wait for the interpreter's lock (_leave).
    KEPT.append(dist.group.WORLD)
    try:
        network = data_parallel(compiled(model, "count", count), torch.device("cpu"))
        tokens_BT = torch.arange(32).view(2, 16)
        network(tokens_BT, tokens_BT + 1).backward()
    finally:
        forget_graphs()
        dist.destroy_process_group()
    megabytes = sum(4 * p.numel() for p in model.parameters()) / MEGABYTE
    assert megabytes > 2 * 25  # torch's own size of a bucket would cut here
    assert len(parts) <= 2 + megabytes / 128
