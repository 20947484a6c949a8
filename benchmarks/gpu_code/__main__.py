"""What the code that Inductor generates for a training step would do on an H200; no GPU is needed.

    python -m benchmarks.gpu_code 124m                 forward and backward, flash attention
    python -m benchmarks.gpu_code 124m 10m --sdpa cudnn
    python -m benchmarks.gpu_code 124m --save          keep the figures as the new baseline

Kernels, launches, bytes that they move by what they do, FLOP, activation memory, all a token of a
micro-batch; the fewest seconds that they take at the stated rates, and what has changed since the
baseline (benchmarks/gpu_code/baseline.json). Bytes of products and of attention are apart. Nothing
is run, so nothing here is a measured time. The update of the weights is left out: about 40 bytes a
weight and step. Layers beyond the fourth are not generated: two more add what two more added.
"""

import common.start  # noqa: F401

# isort: split
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cases import CASES, Case
from benchmarks.gpu_code.figures import WAYS, Figures, Rates, figures, of_depth
from benchmarks.gpu_code.generate import Job, generate, training_step, versions
from benchmarks.timing import parser
from common.errors import ExitStatus
from common.files import read_json, to_json, write_atomic
from configs.cli import exit_status

MODELS = ("3m", "10m", "52m", "124m", "350m", "774m", "1558m")
BASELINE = Path(__file__).parent / "baseline.json"
# NVIDIA, H200 Tensor Core GPU data sheet (2024), SXM: 4.8 TB/s; 989 TFLOP/s of dense bf16.
BANDWIDTH, FLOPS = 4.8e12, 989.4e12
DEPTHS = (2, 4)


def main(words: Sequence[str]) -> int:
    """Print a table a model."""
    arguments = parser("gpu_code", __doc__)
    add = arguments.add_argument
    add("models", nargs="+", choices=MODELS, metavar="MODEL", help=" ".join(MODELS))
    add("--sdpa", choices=("flash", "cudnn"), default="flash", help="attention kernel")
    add("--bandwidth", type=float, default=BANDWIDTH, help="bytes a second of memory")
    add("--flops", type=float, default=FLOPS, help="FLOP a second of products in bf16")
    add("--attention-flops", type=float, help="the same of attention; the causal half counts")
    add("--save", action="store_true", help="keep the figures as the baseline")
    add("--sources", type=Path, help="an existing folder for the generated programs")
    options = arguments.parse_args(words)
    rates = Rates(options.bandwidth, options.flops, options.attention_flops or options.flops)
    made_by = versions()
    saved = read_json(BASELINE) if BASELINE.exists() else {"steps": {}}
    for name in options.models:
        found = step_figures(CASES[name], options.sdpa, rates, options.sources)
        key = f"{name} {options.sdpa}"
        print("\n".join(table(key, CASES[name], found, rates, saved["steps"].get(key))), flush=True)
        if options.save:
            kept = {k: round(v, 3) for k, v in sorted(found.items()) if "seconds" not in k}
            saved["steps"][key] = {"versions": made_by, "figures": kept}
            write_atomic(BASELINE, to_json(saved))
    return ExitStatus.DONE


def step_figures(case: Case, sdpa: str, rates: Rates, sources: Path | None = None) -> Figures:
    """The figures of a micro-batch of a model, whose deeper layers are extrapolated."""
    layers, sequences = case.config.n_layer, case.micro_batch
    depths: Sequence[int] = DEPTHS if layers > DEPTHS[1] else (layers,)
    shapes = [type(case.config)(**{**vars(case.config), "n_layer": n}) for n in depths]
    jobs: list[Job] = [training_step(shape, sequences, sdpa) for shape in shapes]
    tokens = sequences * case.config.block_size
    found = [figures(programs, tokens, rates) for programs in generate(jobs, sources)]
    if len(found) == 1:
        return found[0]
    return of_depth(layers, (depths[0], found[0]), (depths[1], found[1]))


def table(key: str, case: Case, found: Figures, rates: Rates, saved: dict | None) -> list[str]:
    """Lines of text."""
    before = saved["figures"] if saved else {}
    micro_batch = f"{case.micro_batch} x {case.config.block_size}"
    lines = [f"{key}, micro-batch {micro_batch}, bytes a token"]
    for way in WAYS:
        lines.append(
            f"  {way}: {found[f'{way} launches']:.0f} launches, "
            f"{found[f'{way} bytes'] / 1e3:.1f} kB beside products and attention"
        )
        start = f"{way} bytes of "
        names = [n.removeprefix(start) for n in found if n.startswith(start)]
        for name in sorted(names, key=lambda n: -found[start + n]):
            value, launches = found[start + name], found[f"{way} launches of {name}"]
            lines.append(f"    {value / 1e3:9.2f} kB {launches:5.0f} x  {name}")
    for kind in ("product", "attention"):
        flops = sum(found[f"{way} {kind} FLOP"] for way in WAYS)
        moved = sum(found[f"{way} {kind} bytes"] for way in WAYS)
        lines.append(f"  {kind}: {flops / 1e6:.1f} MFLOP, {moved / 1e3:.1f} kB")
    kept, peak = found["activation bytes kept"], found["activation bytes at the peak"]
    lines.append(f"  activations: {kept / 1e3:.1f} kB kept, {peak / 1e3:.1f} kB at the peak")
    total = sum(found[f"{way} bytes"] for way in WAYS)
    seconds = {n: v for n, v in found.items() if n.startswith("seconds of ")}
    told = {n.removeprefix("seconds of "): f"{1e9 * v:.1f} ns" for n, v in seconds.items()}
    parts = ", ".join(f"{name} {value}" for name, value in told.items())
    lines.append(
        f"  roofline at {rates.bandwidth / 1e12:g} TB/s, {rates.product_flops / 1e12:g} TFLOP/s "
        f"(attention {rates.attention_flops / 1e12:g}): {1 / sum(seconds.values()):,.0f} tokens/s "
        f"({parts})"
    )
    lines.append(f"  {total / 1e3:.1f} kB a token in all{difference(found, before)}")
    return lines


def difference(found: Figures, before: Figures) -> str:
    """What has changed since the baseline, the largest first."""
    if not before:
        return "; no baseline"
    names = [n for n in {*found, *before} if " bytes of " in n]
    changes = {n: found.get(n, 0.0) - before.get(n, 0.0) for n in names}
    whole = sum(changes.values())
    large = sorted((n for n in names if abs(changes[n]) >= 10), key=lambda n: -abs(changes[n]))
    told = "".join(f"\n    {changes[n] / 1e3:+9.2f} kB  {n}" for n in large)
    return f", {whole / 1e3:+.1f} since the baseline{told}"


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
