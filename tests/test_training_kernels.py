"""The attention kernel: one that works, by rule on a CPU, told in the record; and the graphs."""

import json
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from functorch.compile import make_boxed_func
from test_training_distributed import together
from tiny_training import alone, claimed, prepared_config, tiny_config, train_once
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.attention import SDPBackend
from torch.nn.parallel import DistributedDataParallel

from configs.errors import BadInput, StopRequested
from model.config import GPTConfig
from model.gpt import GPT
from training.distributed import Ranks
from training.hardware import decide
from training.kernels import KERNELS, choose_sdpa, compiled, kernel_times, quickest, set_switches
from training.loop import train
from training.metrics import read_metrics

CPU = torch.device("cpu")
MODEL = GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=16, vocab_size=256, init_std=0.1)


@pytest.fixture(autouse=True)
def switches():
    """Torch's, as they were."""
    cuda = torch.backends.cuda
    names = ("flash", "mem_efficient", "cudnn", "math")
    before = {name: getattr(cuda, f"{name}_sdp_enabled")() for name in names}
    yield
    for name, value in before.items():
        getattr(cuda, f"enable_{name}_sdp")(value)


def torch_would_take(q_BHTK: torch.Tensor) -> SDPBackend:
    return SDPBackend(torch._fused_sdp_choice(q_BHTK, q_BHTK, q_BHTK, None, 0.0, True))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_cpu_gets_the_kernel_that_torch_would_take(precision):
    q_BHTK = torch.zeros(1, 2, 16, 8, requires_grad=True)
    name = choose_sdpa(MODEL, precision, CPU, 1, None)
    assert (name, KERNELS[name]) == ("flash", torch_would_take(q_BHTK))


def test_the_switches_leave_torch_no_other_choice():
    q_BHTK = torch.zeros(1, 2, 16, 8, requires_grad=True)
    for name in ("flash", "math", "flash"):
        set_switches(1, name)
        assert torch_would_take(q_BHTK) == KERNELS[name]


def test_float32_is_exact_and_sums_of_bf16_are_float32_whatever_was_set_before():
    cuda, cpu = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    torch.set_float32_matmul_precision("medium")
    cuda.allow_bf16_reduced_precision_reduction = True
    set_switches(1, "flash")
    assert (cuda.fp32_precision, cpu.fp32_precision) == ("ieee", "ieee")
    assert not cuda.allow_bf16_reduced_precision_reduction


@pytest.mark.parametrize("asked", ["cudnn", "efficient"])
def test_a_kernel_that_the_device_lacks_is_refused_in_one_line(asked):
    with pytest.raises(BadInput) as caught:
        choose_sdpa(MODEL, "float32", CPU, 1, asked)
    assert str(caught.value) == (
        f"runtime.sdpa: found {asked}, expected flash or math: what torch has here for float32 "
        "and heads of 8"
    )


def test_a_refusal_comes_before_anything_is_written(tmp_path):
    config = prepared_config(tmp_path, runtime__sdpa="cudnn")
    attempt = claimed(tmp_path / "trial")
    with pytest.raises(BadInput, match="found cudnn, expected flash or math"):
        train(config, attempt, alone(), quiet=True)
    assert not (attempt.folder / "runtime.json").exists()


def test_every_kernel_that_is_timed_takes_time():
    qkv_BTE = torch.randn(4, 64, 96)
    times = kernel_times(["flash", "math"], qkv_BTE, n_head=2)
    assert times.keys() == {"flash", "math"} and all(value > 0 for value in times.values())


def test_a_kernel_that_is_hardly_quicker_is_not_taken_for_it():
    assert quickest({"flash": 1.02, "efficient": 1.5, "cudnn": 1.0}) == "flash"
    assert quickest({"flash": 1.04, "efficient": 1.5, "cudnn": 1.0}) == "cudnn"


def test_the_kernel_is_recorded_and_changes_no_more_than_rounding(tmp_path):
    config = prepared_config(tmp_path)
    losses, names = [], []
    for asked in (None, "flash", "math"):
        trial = tmp_path / f"{asked}"
        train_once(replace(config, runtime=replace(config.runtime, sdpa=asked)), trial)
        losses.append([row["loss"] for row in read_metrics(trial)])
        names.append(json.loads((trial / "attempt-001/runtime.json").read_text())["sdpa"])
    assert names == ["flash", "flash", "math"]
    assert losses[0] == losses[1]  # what the run before left set does not matter
    assert losses[2] == pytest.approx(losses[0], abs=1e-5) and losses[2] != losses[0]


def test_a_later_attempt_takes_the_first_ones_kernel(tmp_path):
    config = tiny_config(tmp_path)
    first = decide(replace(config, runtime=replace(config.runtime, sdpa="math")), alone(), None)
    assert decide(config, alone(), first) == first
    from_before = replace(first, sdpa="auto")
    assert decide(config, alone(), from_before).sdpa == "flash"
    elsewhere = replace(first, sdpa="cudnn", device="NVIDIA H200")
    assert decide(config, alone(), elsewhere).sdpa == "flash"


def test_to_go_on_with_another_kernel_is_not_the_same_to_the_bit(tmp_path, monkeypatch):
    config = prepared_config(tmp_path)
    attempt = claimed(tmp_path / "trial")
    with monkeypatch.context() as patch:
        patch.setattr("training.loop.stop_flag", lambda: nullcontext(lambda: True))
        with pytest.raises(StopRequested):
            train(config, attempt, alone(), quiet=True)
    attempt.release()
    other = replace(config, runtime=replace(config.runtime, sdpa="math"))
    record = train_once(other, attempt.trial)
    assert (record.status, record.attempts, record.bitwise) == ("done", 2, False)
    log = (attempt.trial / "attempt-002/log.txt").read_text()
    assert "sdpa: 'flash', now 'math'" in log


def passed(network: torch.nn.Module, sequences: int) -> None:
    tokens_BT = torch.arange(16).repeat(sequences, 1)
    network(tokens_BT, tokens_BT).backward()


def test_the_whole_model_is_one_graph_made_once_for_all_runs_of_its_kind():
    """Each size of pass is another graph, and so is another kernel; a second network is none."""
    for chunked, backend in ((False, "eager"), (True, "aot_eager")):
        counter = CompileCounterWithBackend(backend)
        for sdpa, sequences, graphs in (
            ("flash", 4, 1),
            ("flash", 3, 2),
            ("flash", 4, 2),
            ("math", 4, 3),
        ):
            set_switches(1, sdpa)
            model = GPT(replace(MODEL, n_layer=1), torch.Generator().manual_seed(0))
            model.chunked_head = chunked
            passed(compiled(model, (sdpa, chunked), backend=counter), sequences)
            assert counter.frame_count == graphs


def test_more_shapes_than_torch_keeps_graphs_of_one_function_are_no_matter():
    counter = CompileCounterWithBackend("eager")
    limit = torch._dynamo.config.recompile_limit
    for vocab_size in range(17, 19 + limit):
        config = replace(MODEL, n_layer=1, n_embd=2, vocab_size=vocab_size)
        model = GPT(config, torch.Generator().manual_seed(0))
        passed(compiled(model, config, backend=counter), 1)
    assert counter.frame_count == limit + 2


def test_graphs_on_disk_are_told_apart_by_their_kernel():
    tags = []
    for sdpa in ("flash", "math"):
        set_switches(1, sdpa)
        tags.append(torch.compiler.config.cache_key_tag)
    assert tags == ["sdpa=flash", "sdpa=math"]


def test_compiled_ranks_send_gradients_round_while_they_still_compute_others(tmp_path):
    """DDP around a compiled network cuts its one graph where its buckets end (DDPOptimizer)."""
    config = tiny_config(tmp_path)
    wide = replace(MODEL, n_layer=4, n_embd=128)  # 3 MB of gradients, in buckets of 1 and 2

    def body(ranks: Ranks) -> object:
        done: list[str] = []

        def traced_backward(graph, _):
            def run(*inputs):
                outputs = graph.forward(*inputs)
                done.append("backward")
                return outputs

            return make_boxed_func(run)

        def traced_bucket(_, bucket):
            done.append("bucket")
            future = dist.all_reduce(bucket.buffer(), async_op=True).get_future()
            return future.then(lambda sums: sums.value()[0])

        backend = aot_autograd(
            fw_compiler=lambda graph, _: make_boxed_func(graph.forward),
            bw_compiler=traced_backward,
        )
        model = GPT(wide, torch.Generator().manual_seed(0))
        network = DistributedDataParallel(compiled(model, ranks.rank, backend), bucket_cap_mb=2)
        network.register_comm_hook(None, traced_bucket)
        for _ in range(2):  # the first step settles the buckets
            done.clear()
            passed(network, 2)
        return done

    first, second = together(config, tmp_path, body)
    assert first == second and first.count("backward") > 1 and first.count("bucket") > 1
    assert first.index("bucket") < len(first) - 1 - first[::-1].index("backward")
