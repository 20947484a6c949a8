"""The attention kernel: one that works, by rule on a CPU, told in the record; and the graphs."""

import json
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from functorch.compile import make_boxed_func
from test_training_ranks_distributed import together
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.attention import SDPBackend
from torch.nn.parallel import DistributedDataParallel

from common.errors import BadInput, StopRequested
from model.config import GPTConfig
from model.gpt import GPT
from tests.support.tiny_training import (
    alone,
    claimed,
    prepared_config,
    stopping,
    tiny_config,
    train_once,
)
from training.device.backends import (
    KERNELS,
    choose_sdpa,
    compiled,
    compiler_options,
    kernel_times,
    quickest,
    set_switches,
)
from training.environment import decide
from training.loop import train
from training.ranks.distributed import Ranks
from training.trial.metrics import read_metrics

CPU = torch.device("cpu")
MODEL = GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=16, vocab_size=256, init_std=0.1)


def torch_would_take(q_BHTK: torch.Tensor) -> SDPBackend:
    return SDPBackend(torch._fused_sdp_choice(q_BHTK, q_BHTK, q_BHTK, None, 0.0, True))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_backends_give_a_cpu_the_kernel_that_torch_would_take(precision):
    """A cpu gets the kernel that torch would take."""
    q_BHTK = torch.zeros(1, 2, 16, 8, requires_grad=True)
    name = choose_sdpa(MODEL, precision, CPU, 1, None)
    assert (name, KERNELS[name]) == ("flash", torch_would_take(q_BHTK))


def test_backends_switches_leave_torch_no_other_choice():
    """The switches leave torch no other choice."""
    q_BHTK = torch.zeros(1, 2, 16, 8, requires_grad=True)
    for name in ("flash", "math", "flash"):
        set_switches(1, name)
        assert torch_would_take(q_BHTK) == KERNELS[name]


def test_backends_set_exact_float32_whatever_was_set_before():
    """Float32 is exact and sums of bf16 are float32 whatever was set before."""
    cuda, cpu = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    torch.set_float32_matmul_precision("medium")
    cuda.allow_bf16_reduced_precision_reduction = True
    set_switches(1, "flash")
    assert (cuda.fp32_precision, cpu.fp32_precision) == ("ieee", "ieee")
    assert not cuda.allow_bf16_reduced_precision_reduction


@pytest.mark.parametrize("asked", ["cudnn", "efficient"])
def test_backends_refuse_a_kernel_that_the_device_lacks_in_one_line(asked):
    """A kernel that the device lacks is refused in one line."""
    with pytest.raises(BadInput) as caught:
        choose_sdpa(MODEL, "float32", CPU, 1, asked)
    assert str(caught.value) == (
        f"runtime.sdpa: found {asked}, expected flash or math: what computes attention rightly "
        "here, in float32 for heads of 8 and sequences of 16"
    )


def test_backends_refuse_before_anything_is_written(tmp_path):
    """A refusal comes before anything is written."""
    config = prepared_config(tmp_path, runtime__sdpa="cudnn")
    attempt = claimed(tmp_path / "trial")
    with pytest.raises(BadInput, match="found cudnn, expected flash or math"):
        train(config, attempt, alone(), quiet=True)
    assert not (attempt.folder / "runtime.json").exists()


def test_backends_measure_a_time_for_every_kernel():
    """Every kernel that is timed takes time."""
    qkv_BTE = torch.randn(4, 64, 96)
    times = kernel_times(["flash", "math"], qkv_BTE, n_head=2)
    assert times.keys() == {"flash", "math"} and all(value > 0 for value in times.values())


def test_backends_do_not_take_a_kernel_that_is_hardly_quicker():
    """A kernel that is hardly quicker is not taken for it."""
    assert quickest({"flash": 1.02, "efficient": 1.5, "cudnn": 1.0}) == "flash"
    assert quickest({"flash": 1.04, "efficient": 1.5, "cudnn": 1.0}) == "cudnn"


def test_backends_record_the_kernel_which_changes_only_rounding(tmp_path):
    """The kernel is recorded and changes no more than rounding."""
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


def test_backends_give_a_later_attempt_the_kernel_of_the_first(tmp_path):
    """A later attempt takes the first ones kernel."""
    config = tiny_config(tmp_path)
    first = decide(replace(config, runtime=replace(config.runtime, sdpa="math")), alone(), None)
    assert decide(config, alone(), first) == first
    from_before = replace(first, sdpa="auto")
    assert decide(config, alone(), from_before).sdpa == "flash"
    elsewhere = replace(first, sdpa="cudnn", device="NVIDIA H200")
    assert decide(config, alone(), elsewhere).sdpa == "flash"


def test_backends_mark_another_kernel_as_not_bitwise(tmp_path):
    """To go on with another kernel is not the same to the bit."""
    config = prepared_config(tmp_path)
    attempt = claimed(tmp_path / "trial")
    with pytest.raises(StopRequested):
        train(config, attempt, alone(), None, True, stopping)
    attempt.release()
    other = replace(config, runtime=replace(config.runtime, sdpa="math"))
    record = train_once(other, attempt.trial)
    assert (record.status, record.attempts, record.bitwise) == ("done", 2, False)
    log = (attempt.trial / "attempt-002/log.txt").read_text()
    assert "sdpa changed flash -> math" in log


def passed(network: torch.nn.Module, sequences: int) -> None:
    """As in a step: tokens and targets are two tensors, which a graph may tell apart."""
    tokens_BT = torch.arange(16).repeat(sequences, 1)
    network(tokens_BT, tokens_BT + 1).backward()


def test_backends_compile_the_whole_model_to_one_graph_once():
    """The whole model is one graph made once for all runs of its kind.

    Each size of pass is another graph, and so is another kernel; a second network is none.
    """
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


def test_backends_compile_more_shapes_than_torch_keeps_graphs():
    """More shapes than torch keeps graphs of one function are no matter."""
    counter = CompileCounterWithBackend("eager")
    limit = torch._dynamo.config.recompile_limit
    for vocab_size in range(17, 19 + limit):
        config = replace(MODEL, n_layer=1, n_embd=2, vocab_size=vocab_size)
        model = GPT(config, torch.Generator().manual_seed(0))
        passed(compiled(model, config, backend=counter), 1)
    assert counter.frame_count == limit + 2


def test_backends_tell_graphs_on_disk_apart_by_their_kernel():
    """Graphs on disk are told apart by their kernel."""
    tags = []
    for sdpa in ("flash", "math"):
        set_switches(1, sdpa)
        tags.append(torch.compiler.config.cache_key_tag)
    assert tags == ["sdpa=flash", "sdpa=math"]


MIX_ORDER = "triton.mix_order_reduction"


def test_backends_limit_the_fusions_of_an_earlier_compiler_for_gpus(monkeypatch):
    """torch 2.13 limits by itself what 2.11 does not; the user's own switch counts for both."""
    monkeypatch.delenv("TORCHINDUCTOR_MIX_ORDER_REDUCTION", raising=False)
    assert compiler_options("2.11.0+cu130") == compiler_options("2.12.1") == {MIX_ORDER: False}
    assert compiler_options("2.13.0+cpu") == compiler_options("3.0.0a0+git1") == {}
    monkeypatch.setenv("TORCHINDUCTOR_MIX_ORDER_REDUCTION", "1")
    assert compiler_options("2.11.0+cu130") == {}


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_backends_know_the_compilers_options_by_the_names_that_it_has():
    """A switch that is on by itself, and from 2.13 on a limit; no other name is accepted."""
    options = torch._inductor.config.get_config_copy()
    assert options[MIX_ORDER] is True
    if compiler_options(torch.__version__) == {}:
        assert options[f"{MIX_ORDER}_max_reads"] > 0
    torch.compile(torch.sin, options=compiler_options("2.11.0"))
    with pytest.raises(RuntimeError, match="Unexpected optimization option"):
        torch.compile(torch.sin, options={"triton.mix_order": False})


def test_backends_compiled_ranks_send_gradients_while_they_compute(tmp_path):
    """Compiled ranks send gradients round while they still compute others.

    DDP around a compiled network cuts its one graph where its buckets end (DDPOptimizer).
    """
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
