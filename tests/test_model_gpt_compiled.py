"""What the compiler makes of the model, by its code for a CPU."""

import re

import pytest
import torch
from torch._inductor.utils import run_and_get_code

from model.config import GPTConfig
from model.gpt import GPT


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_gpt_compiled_holds_logits_once_in_bf16_and_once_as_gradient():
    """The logits exist once in bf16 and once as their gradient.

    Mask, softmax and loss read them in one kernel: no float32 copy, no masked copy.
    """
    config = GPTConfig(n_layer=1, n_head=2, n_embd=32, block_size=48, vocab_size=1000, init_std=0.1)
    model = GPT(config, torch.Generator().manual_seed(0))
    ids_BT = torch.randint(1000, (5, 49), generator=torch.Generator().manual_seed(1))
    tokens_BT, targets_BT = ids_BT[:, :-1].contiguous(), ids_BT[:, 1:].contiguous()
    network = torch.compile(model, dynamic=False, fullgraph=True)

    def step() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            loss = network(tokens_BT, targets_BT)
        loss.backward()
        return loss

    loss, programs = run_and_get_code(step)
    with torch.autocast("cpu", torch.bfloat16):
        assert loss.item() == pytest.approx(model(tokens_BT, targets_BT).item(), abs=2e-3)
    made = [
        re.findall(
            rf"empty_strided_cpu\(\({5 * 48}, {config.padded_vocab_size}\).*torch\.(\w+)", code
        )
        for code in programs
    ]
    assert len(programs) == 2  # forward and backward
    assert made[0] == ["bfloat16"] and set(made[1]) <= {"bfloat16"} and len(made[1]) <= 1
