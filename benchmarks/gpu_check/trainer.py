"""The trainer's own step: its loader, its tried micro-batch, its first step and the later ones."""

from collections.abc import Iterator

from benchmarks.gpu_check.context import Context, Findings
from benchmarks.timing import clocked
from configs.cli import Arguments
from configs.load import CONFIG_DIR
from training.dataset import on_random_tokens, open_data
from training.device.micro_batch import autotune
from training.environment import decide, peak_memory
from training.ranks.distributed import Ranks
from training.state import TrainState, build_state
from training.step import PendingStep, begin_step
from training.trial.command import compose
from training.trial.describe import utilisation

STEPS = 12


def trainer(context: Context, findings: Findings) -> Iterator[None]:
    """GPT-2 small as `experiment=gpt2_124m` trains it, on random tokens."""
    name = "smoke" if context.toy else "gpt2_124m"
    words = (f"experiment={name}", f"runtime.device={context.device}", "precision=bf16")
    _, config = compose(Arguments("train", words, CONFIG_DIR))
    folder = context.path("random")
    folder.mkdir()
    config = on_random_tokens(config, folder)
    ranks = Ranks(0, 1, 1, context.on, 60.0)
    data = open_data(config, ranks)
    state = build_state(config, ranks, decide(config, ranks, None), data)
    said: list[str] = []
    autotune(state, said.append)
    first_s, second_s = (clocked(lambda: take_steps(state, 1))[1] for _ in range(2))
    findings.note(
        name,
        autotune=said,
        autotune_s=state.autotune_s,
        first_step_s=first_s,
        second_step_s=second_s,
        environment=str(state.environment),
    )
    yield
    take_steps(state, 1)
    _, seconds = clocked(lambda: take_steps(state, STEPS))
    rate = STEPS * config.schedule.batch_tokens / seconds
    used = utilisation(state, rate)
    peak = peak_memory(context.on) / 2**30
    findings.note(name, tokens_per_s=rate, step_s=seconds / STEPS, mfu=used, peak_gib=peak)
    environment = state.environment
    findings.line(
        f"{name:<26}{rate:>12,.0f} tokens/s{'' if used is None else f', MFU {used:.1%}'}, "
        f"step {1e3 * seconds / STEPS:.1f} ms, {peak:.1f} GiB, "
        f"{environment.micro_batch} sequences, {environment.sdpa}; tried {state.autotune_s:.1f} s, "
        f"first step {first_s:.1f} s, second {second_s:.2f} s"
    )


def take_steps(state: TrainState, count: int) -> None:
    """So many steps, each handed over before the one ahead is read, as in training."""
    begun: list[PendingStep] = []
    for _ in range(count):
        begun.append(begin_step(state))
        if len(begun) > state.is_async:
            begun.pop(0).result()
    for step in begun:
        step.result()
