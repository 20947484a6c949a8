"""One cell of a grid: its budget and shape to a complete TrainConfig, or the reason why not."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from common.errors import BadInput
from model.config import GPTConfig
from model.flops import flops_per_token_exact, params_effective
from scaling.plan import rules
from scaling.plan.config import ControlsConfig, GridConfig, Part
from scaling.plan.ladder import base_shape, matched, nearest, rungs, spread
from training.config import TrainConfig


def shapes_at(
    base: TrainConfig, grid: GridConfig, budget: float, like: Sequence[GPTConfig] = ()
) -> list[GPTConfig]:
    """The shapes that the grid asks for at one of its budgets, smallest first.

    With `like`, another arm's, they are the rungs nearest to those in N_effective, each once.
    """
    ladder = rungs(grid.ladder, base.model)
    if like:
        return matched(ladder, [params_effective(shape) for shape in like])
    expected, count = grid.centre.n_effective(budget), grid.sizes_by_budget[budget]
    if grid.span is None:
        return nearest(ladder, expected, count)
    return spread(ladder, expected / grid.span, expected * grid.span, count)


def reason_off_ladder(base: TrainConfig, grid: GridConfig, budget: float) -> str:
    """Why this ladder cannot bracket the optimum of a budget; empty where it can."""
    ladder, expected = rungs(grid.ladder, base.model), grid.centre.n_effective(budget)
    low, high = params_effective(ladder[0]), params_effective(ladder[-1])
    if low <= expected <= high:
        return ""
    return (
        f"the expected optimum, N_effective {expected:.3g}, lies beyond the ladder, "
        f"which has {low:.3g} to {high:.3g}"
    )


def cell_config(
    base: TrainConfig,
    grid: GridConfig,
    budget: float,
    shape: GPTConfig,
    dataset_tokens: int | None,
    lr_factor: float = 1.0,
    batch_factor: float = 1.0,
) -> TrainConfig | str:
    """The trial of one budget and shape with the seed of `base`, or why it cannot be run.

    Its tokens are D = C / f, C the budget and f the exact training FLOP per token; its schedule
    rounds them to whole batches. The factors multiply those of the grid's rules.
    """
    tokens = round(budget / flops_per_token_exact(shape))
    if tokens < grid.min_steps * shape.block_size:
        found = tokens // shape.block_size
        return f"{found} steps of a single sequence, expected {grid.min_steps} or more"
    case = rules.Case(shape, tokens, budget)
    chosen = grid.rules
    try:
        factor, multiple = chosen.batch_factor * batch_factor, chosen.batch_multiple or 1
        batch = rules.batch_tokens(chosen.batch, case, factor, multiple)
        at_base = rules.Case(base_shape(shape), tokens, budget)
        lr = lr_factor * rules.learning_rate(chosen.lr, at_base, chosen.lr_factor)
        init_std = rules.init_std(chosen.init, at_base)
    except BadInput as error:  # outside a rule's range
        return str(error)
    steps = round(tokens / batch)
    if steps < grid.min_steps:
        return f"{steps} steps of {batch} tokens, expected {grid.min_steps} or more"
    if unique := base.data.unique_tokens:
        dataset_tokens = min(dataset_tokens or unique, unique)
    if dataset_tokens is not None and steps * batch > base.data.max_epochs * dataset_tokens:
        epochs = steps * batch / dataset_tokens
        return f"{epochs:.3g} epochs, expected at most data.max_epochs {base.data.max_epochs:g}"
    warmup = rules.warmup_tokens(chosen.warmup, case, batch)
    if chosen.warmup == "size" and 2 * warmup > steps * batch:
        return f"a warm-up of {warmup} tokens, expected at most half of {steps * batch}"
    beta2 = rules.beta2(chosen.beta2, batch)
    return replace(
        base,
        model=replace(shape, init_std=_four_digits(init_std)),
        optimizer=replace(
            base.optimizer,
            lr=_four_digits(lr),
            betas=(base.optimizer.betas[0], _four_digits(beta2)),
        ),
        schedule=replace(
            base.schedule,
            tokens=tokens,
            batch_tokens=batch,
            warmup_tokens=warmup,
        ),
    )


def control_configs(
    config: TrainConfig, controls: ControlsConfig
) -> Iterator[tuple[Part, TrainConfig | str]]:
    """A cell once more for each mistake asked for, or why it is too short to make it."""
    schedule, steps = config.schedule, controls.long_warmup_steps
    if steps is not None:
        warmup = steps * schedule.batch_tokens
        found: TrainConfig | str = (
            f"control_long_warmup: {schedule.steps} steps, expected more than "
            f"grid.controls.long_warmup_steps {steps}"
        )
        if warmup < schedule.tokens:
            found = replace(config, schedule=replace(schedule, warmup_tokens=warmup))
        yield "control_long_warmup", found
    if controls.long_cosine is not None:
        end = round(controls.long_cosine * schedule.tokens)
        yield "control_long_cosine", replace(config, schedule=replace(schedule, cosine_tokens=end))


def _four_digits(value: float) -> float:
    """Rounded, so that no id depends on the last bit of a platform's power function."""
    return float(f"{value:.4g}")
