"""What a GPU computes is what a CPU does, by every attention kernel, compiled or not.

Each test runs on the CPU at a toy's size as well. `make gpu-check` runs those of a GPU and prints
the figures that they found.
"""

import json
from dataclasses import replace

import pytest
import torch

from common.errors import BadInput
from model.gpt import GPT
from tests.support.on_devices import (
    ON_BOTH,
    ON_GPU,
    PLACES,
    Place,
    built,
    config_of,
    loss_and_gradient,
    network_on,
    relative_error,
    train_once,
)
from training.device.backends import KERNELS, choose_sdpa, set_switches
from training.evaluate import evaluate

# torch warns of other things on every device and in every version.
pytestmark = pytest.mark.filterwarnings("default")

CPU = PLACES["cpu"]
PRECISIONS = [("float32", 1e-5, 1e-4), ("bf16", 2e-2, 5e-2)]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("precision", "loss_error", "gradient_error"), PRECISIONS)
@pytest.mark.parametrize("place", ON_BOTH)
def test_loss_and_gradient_are_those_of_the_cpu(
    place: Place, precision, loss_error, gradient_error, chunked
):
    reference = network_on(CPU, place.wide_head, "float32")
    expected, gradient = loss_and_gradient(reference, CPU.device, "float32")
    network = network_on(place, place.wide_head, precision, chunked)
    found, found_gradient = loss_and_gradient(network, place.device, precision)
    difference = relative_error(found_gradient, gradient)
    print(f"\n{precision}, chunked {chunked}: {found - expected:+.2e} nats, {difference:.2e}")
    assert found == pytest.approx(expected, abs=loss_error)
    assert difference < gradient_error


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("precision", "loss_error", "gradient_error"), [("float32", 1e-5, 1e-4), ("bf16", 5e-3, 5e-2)]
)
@pytest.mark.parametrize("place", ON_BOTH)
def test_a_compiled_network_computes_the_same(
    place: Place, precision, loss_error, gradient_error, chunked
):
    network = network_on(place, place.wide_head, precision, chunked)
    expected, gradient = loss_and_gradient(network, place.device, precision)
    graph = place.compiled(network, (precision, chunked))
    found, found_gradient = loss_and_gradient(graph, place.device, precision)
    difference = relative_error(found_gradient, gradient)
    print(f"\n{precision}, chunked {chunked}: {found - expected:+.2e} nats, {difference:.2e}")
    assert found == pytest.approx(expected, abs=loss_error)
    assert difference < gradient_error


@pytest.mark.parametrize("place", ON_BOTH)
def test_the_chunked_head_costs_no_accuracy_in_bf16(place: Place):
    networks = (network_on(place, place.wide_head, "bf16", chunked) for chunked in (False, True))
    plain, chunked = (loss_and_gradient(n, place.device, "bf16")[0] for n in networks)
    assert chunked == pytest.approx(plain, abs=0.002)


def works(place: Place, name: str) -> bool:
    """Whether a run that asks for the kernel gets it."""
    try:
        return choose_sdpa(place.narrow, "bf16", place.device, 4, name) == name
    except BadInput as refusal:
        print(f"\n{refusal}")
        return False


@pytest.mark.parametrize("name", list(KERNELS))
@pytest.mark.parametrize("place", ON_BOTH)
def test_every_kernel_that_works_computes_what_math_does_in_a_compiled_network(
    place: Place, name: str
):
    if not works(place, name):
        pytest.skip(f"{name} does not work here")

    def by(kernel: str, precision: str) -> tuple[float, list[torch.Tensor]]:
        set_switches(1, kernel)
        network = GPT(place.narrow, torch.Generator().manual_seed(0)).to(place.device)
        graph = place.compiled(network, (kernel, precision))
        return loss_and_gradient(graph, place.device, precision)

    expected, gradient = by("math", "float32")
    found, found_gradient = by(name, "bf16")
    difference = relative_error(found_gradient, gradient)
    print(f"\n{name}: {found - expected:+.2e} nats, {difference:.2e}")
    assert all(part.isfinite().all() for part in found_gradient)
    assert found == pytest.approx(expected, abs=2e-2)
    assert difference < 5e-2


@pytest.mark.parametrize("name", list(KERNELS))
@pytest.mark.parametrize("place", ON_BOTH)
def test_the_switches_leave_torch_no_other_kernel(place: Place, name: str):
    if not works(place, name):
        pytest.skip(f"{name} does not work here")
    shape, dtype = (2, 4, 128, 64), torch.bfloat16 if place.is_gpu else torch.float32
    q_BHTK = torch.zeros(shape, device=place.device, dtype=dtype, requires_grad=True)
    set_switches(1, name)
    taken = torch._fused_sdp_choice(q_BHTK, q_BHTK, q_BHTK, None, 0.0, True)
    assert taken == KERNELS[name].value


@pytest.mark.parametrize("place", ON_BOTH)
def test_the_kernel_is_chosen_and_recorded(place: Place, tmp_path):
    record = train_once(place, config_of(place, tmp_path, steps=1), tmp_path / "trial")
    assert record.status == "done"
    chosen = json.loads((tmp_path / "trial/attempt-001/runtime.json").read_text())["sdpa"]
    print(f"\nattention: {chosen}")
    assert chosen in (("flash", "efficient", "cudnn") if place.is_gpu else ("flash",))


@pytest.mark.parametrize(
    ("place", "name"),
    [
        pytest.param(*ON_GPU.values, "flash", id="cuda", marks=pytest.mark.needs_gpu),
        pytest.param(CPU, "efficient", id="cpu"),
    ],
)
def test_a_kernel_that_the_device_lacks_is_refused(place: Place, name: str):
    with pytest.raises(BadInput, match=f"runtime.sdpa: found {name}, expected .* float32"):
        choose_sdpa(place.narrow, "float32", place.device, 2, name)


@pytest.mark.parametrize("place", ON_BOTH)
def test_a_large_micro_batch_in_bf16_has_a_finite_gradient(place: Place):
    """64 x 1024 tokens of GPT-2 small: offsets of logits pass 2^31, at 3.3e9 of them."""
    network = network_on(place, place.small, "bf16")
    graph = place.compiled(network, "large")
    loss, gradient = loss_and_gradient(graph, place.device, "bf16", place.sequences)
    norm = sum(part.square().sum().item() for part in gradient) ** 0.5
    print(f"\nloss {loss:.4f}, gradient norm {norm:.4f}")
    assert loss == pytest.approx(torch.tensor(place.small.vocab_size).log().item(), abs=0.3)
    assert len(gradient) == len(list(network.parameters()))
    assert all(part.isfinite().all() for part in gradient)
    assert 0 < norm < 100


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("place", ON_BOTH)
def test_an_evaluation_in_bf16_is_that_of_float32_on_the_cpu(place: Place, compile, tmp_path):
    block = place.wide_head.block_size
    config = config_of(place, tmp_path, place.wide_head, precision="bf16")
    config = replace(config, evaluation=replace(config.evaluation, tokens=8 * block))
    state = built(place, config)
    windows = state.data.windows
    assert len(windows) == 8
    network = place.compiled(state.model, "evaluated") if compile else None
    found = evaluate(state.model, windows, state.ranks, state.autocast, network)
    reference = GPT(config.model, None)
    reference.load_state_dict(state.model.state_dict())
    plain = torch.autocast("cpu", enabled=False)
    expected = evaluate(reference, windows, CPU.ranks(), lambda: plain)
    print(f"\n{found - expected:+.2e} nats")
    assert found == pytest.approx(expected, abs=0.002)
