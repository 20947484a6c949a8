"""The page of one training run: its loss, its speed, its checkpoints, while it trains and after.

Read from the files of the trial's folder alone, so that it disturbs nothing and needs no torch.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from string import Template

import numpy as np

from common.errors import BadInput
from common.files import read_json, write_atomic
from common.numbers import UNKNOWN, byte_size, compact, count, duration, fixed
from data.tokenizer import is_byte_vocabulary
from scaling.report import html
from scaling.report.figures.chart import Chart, Line, Panel, Points, axis, said
from scaling.report.published_runs import PublishedRun, published_run
from scaling.report.tables.table import Row, Table
from training.config import TrainConfig
from training.trial.attempt import attempts
from training.trial.folder import read_config
from training.trial.metrics import Row as LoggedRow
from training.trial.metrics import scan_metrics
from training.trial.record import RunRecord, read_record

SCRIPTS = ("guard.js", "figures.js", "sections.js")
_BINS, _FEW_BINS = 300, 80  # points of a line: each is the mean of as many logged rows
_MARKS = {"done": ("ok", "✓"), "not ended": ("flagged", "…")}
_ENVIRONMENT = (
    *(
        "device",
        "world_size",
        "precision",
        "torch",
        "sdpa",
        "bitwise",
        "code_commit",
        "data_digest",
    ),
    *("started", "ended", "attempts", "spikes"),
)


def write_run_page(trial: Path) -> Path:
    """Write run.html into the folder of a trial, and return its path. Raises BadInput."""
    page = render_run(trial)
    try:
        write_atomic(trial / "run.html", page)
    except OSError as error:
        raise BadInput(f"out: {trial}: {error.strerror}; the page is written there") from None
    return trial / "run.html"


def render_run(trial: Path) -> str:
    """The page as one string of HTML."""
    from scaling.report.figures import interactive  # plotly takes a while to import

    config, record, rows = read_config(trial), read_record(trial), scan_metrics(trial).rows
    token = "byte" if is_byte_vocabulary(config.model.vocab_size) else "token"
    charts = [_losses(config, rows, token), _speed(rows, token), by_position(record, token)]
    drawn = [chart for chart in charts if chart.absent is None]
    values: dict[str, object] = {f"figure-{c.key}": interactive.draw(c) for c in drawn}
    values["dark"] = interactive.dark_colors(drawn)
    status = record.status if record else "not ended"
    look, mark = _MARKS.get(status, ("refused", "✕"))
    chip = f'<span class="chip {look}"><span aria-hidden="true">{mark}</span> {status}</span>'
    tables = [
        ("Held-out losses", held_out(rows)),
        *((path.name, zero_shot(path)) for path in sorted(trial.glob("zero_shot*.json"))),
        ("Checkpoints", checkpoints(trial)),
    ]
    main = Template(html.static("run.html")).substitute(
        title=html.text(f"Training run {trial.resolve().name}"),
        size=html.text(_shape(config)),
        headline=html.text(headline(config, record, rows)),
        state=f"{chip} {html.text((record and record.reason) or '')}",
        facts="".join(f"<dt>{a}</dt><dd>{html.text(b)}</dd>" for a, b in _facts(config, rows)),
        losses=html.figure(charts[0]),
        speed=html.figure(charts[1]),
        positions=html.figure(charts[2]),
        tables="".join(f"<h3>{title}</h3>{html.table(table)}" for title, table in tables),
        environment=html.table(environment(record)),
    )
    return html.document(f"Training run {trial.resolve().name}", main, values, SCRIPTS)


def headline(config: TrainConfig, record: RunRecord | None, rows: list[LoggedRow]) -> str:
    """How the run ended, or where it stands."""
    if record is not None:
        return f"{record.summary[:1].upper()}{record.summary[1:]}."
    if not rows:
        return "Nothing is logged yet."
    last, planned = rows[-1], config.schedule.tokens_planned
    share = f"{last['tokens'] / planned:.0%} of {count(planned)}"
    return f"Training loss {last['loss']:.3f} nats after {count(last['tokens'])} tokens, {share}."


def _shape(config: TrainConfig) -> str:
    model, schedule = config.model, config.schedule
    shape = f"{model.family}, {model.n_layer} layers of {model.n_embd}"
    batch = f"batches of {count(schedule.batch_tokens)} tokens"
    return f"{shape}, {count(schedule.tokens_planned)} tokens in {batch}"


def _facts(config: TrainConfig, rows: list[LoggedRow]) -> Iterator[tuple[str, str]]:
    """The last held-out loss beside the published one, the speed, and what is left."""
    taken = [row for row in rows if row.get("val_loss") is not None]
    published = published_run(config.model, config.data)
    if taken:
        last = taken[-1]
        told = f"{last['val_loss']:.4f} after {count(last['tokens'])} tokens"
        if published is not None:
            told += f"; {published.name}: {_published_at(published, last['tokens']):.3f} there"
        yield "last held-out loss", told
    if rows:
        speeds = [row["tokens_per_s"] for row in rows[-50:] if row.get("tokens_per_s")]
        speed = float(np.median(speeds)) if speeds else 0.0
        known = [row["mfu"] for row in rows[-50:] if row.get("mfu") is not None]
        used = f", MFU {np.median(known):.1%}" if known else ""
        yield "speed", f"{speed:,.0f} tokens/s{used}"
        left = config.schedule.tokens_planned - rows[-1]["tokens"]
        if left > 0 and speed > 0:
            yield "left", f"about {duration(left / speed)}"
    peak = [row["peak_memory"] for row in rows if row.get("peak_memory")]
    if peak:
        yield "memory at most", byte_size(max(peak))


def _published_at(run: PublishedRun, tokens: float) -> float:
    """Its loss at so many tokens, straight between the logged ones in log tokens."""
    x = np.log(np.maximum(run.tokens, 1))
    return float(np.interp(np.log(max(tokens, 1)), x, run.losses))


def _losses(config: TrainConfig, rows: list[LoggedRow], token: str) -> Chart:
    chart = Chart("losses", "Loss against training data", "Mean of the logged batches.")
    known = _known(rows, "loss")
    if not len(known):
        return Chart(chart.key, chart.title, "", absent="nothing is logged yet")
    tokens, loss = _binned(known, _BINS)
    series: list[Line | Points] = [Line(tokens, loss, "isoflop", "training", heading="training")]
    taken = [row for row in rows if row.get("val_loss") is not None]
    every = [*loss]
    if taken:
        x, y = [row["tokens"] for row in taken], [row["val_loss"] for row in taken]
        texts = [said("held out", f"step {row['step']}", f"{row['val_loss']:.4f}") for row in taken]
        series.append(Points(x, y, texts, "run", "parametric", "held out"))
        every += y
    published = published_run(config.model, config.data)
    caption = (
        "Blue line: training, the mean of the logged batches. Orange points: held out, the same "
        "text at each evaluation."
    )
    if published is not None:
        x, y = list(published.tokens[1:]), list(published.losses[1:])
        texts = [said(published.name, f"{value:.3f}") for value in y]
        series.append(Points(x, y, texts, "minimum", "ink", published.name))
        caption += f" Diamonds: {published.source}."
        every += y
    flat = [x for one in series for x in one.x if x]
    panel = Panel(
        axis(f"training {token}s", "tokens", flat),
        axis(f"loss (nats per {token})", "loss", every),
        tuple(series),
    )
    return Chart(chart.key, chart.title, caption, (panel,))


def _speed(rows: list[LoggedRow], token: str) -> Chart:
    title = "Speed"
    known = _known(rows, "tokens_per_s")
    if len(known) < 2:
        return Chart("speed", title, "", absent="fewer than two rows are logged")
    tokens, speed = _binned(known, _FEW_BINS)
    line = Line(tokens, speed, "isoflop", heading="speed")
    y = axis(f"{token}s per second", "value", speed, log=False)
    seen = replace(y, view=(0.0, 1.1 * float(speed.max())))
    panel = Panel(axis(f"training {token}s", "tokens", tokens, log=False), seen, (line,))
    caption = f"{token}s a second of all devices together, the mean over logged steps.".capitalize()
    return Chart("speed", title, caption, (panel,))


def by_position(record: RunRecord | None, token: str) -> Chart:
    """Kaplan et al. 2020 (2001.08361), figure 7: a network that forgets stops gaining early."""
    title = f"Held-out loss by position of the {token} in its context"
    known = record.loss_by_position if record else None
    if not known:
        done = record is not None and record.status == "done"
        why = "its record has none" if done else "it is in the record of a run that is done"
        return Chart("positions", title, "", absent=why)
    if not all(last >= 1 and 0 < loss < math.inf for last, loss in known):
        why = "its record has a loss or a position that is not above 0"
        return Chart("positions", title, "", absent=why)
    x, y = [float(last) for last, _ in known], [loss for _, loss in known]
    starts = [1, *(last + 1 for last, _ in known)]
    texts = [
        said(f"position {last}" if first == last else f"{first} to {last}", f"{loss:.4f} nats")
        for first, (last, loss) in zip(starts, known, strict=False)
    ]
    series: tuple[Line | Points, ...] = (
        Line(np.array(x), np.array(y), "isoflop", heading="held out"),
        Points(x, y, texts, "run", "isoflop"),
    )
    panel = Panel(
        axis("position in context, 1 the first", "value", x),
        axis(f"loss (nats per {token})", "loss", y),
        series,
    )
    caption = (
        "Of the final weights. A point is the mean over the positions after the point before it, "
        "up to its own."
    )
    return Chart("positions", title, caption, (panel,))


def _known(rows: list[LoggedRow], name: str) -> np.ndarray:
    """(n, 2): tokens and a quantity, of the rows that have both."""
    known = [(row["tokens"], row[name]) for row in rows if row["tokens"] and row.get(name)]
    return np.array(known, dtype=float).reshape(-1, 2)


def _binned(known: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and the mean of a quantity, over equal numbers of logged rows."""
    parts = np.array_split(known, min(bins, len(known)))
    tokens, means = np.array([part.mean(axis=0) for part in parts]).T
    return tokens, means


def held_out(rows: list[LoggedRow]) -> Table:
    """Every evaluation on held-out text."""
    taken = [row for row in rows if row.get("val_loss") is not None]
    found: list[Row] = [
        (str(row["step"]), count(row["tokens"]), compact(row["flops"]), fixed(row["val_loss"], 4))
        for row in taken
    ]
    return Table(("step", "tokens", "FLOP", "held-out loss (nats)"), found, "None was taken yet.")


def zero_shot(path: Path) -> Table:
    """The measures of each task, as `training.zero_shot out=` writes them. Raises BadInput."""
    rows: list[Row] = []
    results = read_json(path)
    if not isinstance(results, dict):
        raise BadInput(f"{path}: found no mapping, expected tasks with their measures")
    for task, measures in results.items():
        for measure, value in measures.items() if isinstance(measures, dict) else [("", measures)]:
            if not isinstance(value, int | float):
                text = f"found {str(value)[:40]!r}, expected a number for each measure of a task"
                raise BadInput(f"{path}: {task}: {text}")
            rows.append((task, measure, f"{value:.4f}"))
    return Table(("task", "measure", "value"), rows)


def checkpoints(trial: Path) -> Table:
    """The checkpoints that are there, by attempt."""
    found: list[Row] = [
        (f"{path.parent.parent.name}/{path.name}", "for good" if _is_kept(path) else "until newer")
        for attempt in attempts(trial)
        for path in sorted((attempt / "checkpoints").glob("step-*"))
    ]
    return Table(("checkpoint", "kept"), found, "There is none.")


def _is_kept(path: Path) -> bool:
    return (path / "for-good").exists()


def environment(record: RunRecord | None) -> Table:
    """What trained it."""
    stated = [(name, getattr(record, name)) for name in _ENVIRONMENT] if record else []
    rows: list[Row] = [(n.replace("_", " "), UNKNOWN if v is None else str(v)) for n, v in stated]
    return Table(("what", "value"), rows, "It is known when the run has ended.")
