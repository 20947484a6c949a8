"""Each mistake ends in one line and status 2, and the line says what to type."""

import importlib
import shlex
from collections.abc import Callable

import pytest

import data.prepare.__main__ as prepare
import fit
import sweep
import train
from configs.cli import exit_status, run_entry
from configs.suggest import distance, meant, nearest
from model import pretrained
from scaling.run import merge
from scaling.run.command import KEYS as SWEEP_KEYS
from training import sample
from training.trial.command import KEYS as TRAIN_KEYS
from training.zero_shot import __main__ as zero_shot

COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": lambda words: run_entry(train.main, "train", "", words, keys=TRAIN_KEYS),
    "sweep": lambda words: run_entry(sweep.main, "sweep", "", words, keys=SWEEP_KEYS),
    "fit": lambda words: run_entry(fit.main, "fit", "", words, keys=fit.KEYS),
    "prepare": lambda words: run_entry(prepare.main, "prepare", "", words, keys=prepare.KEYS),
    "zero_shot": lambda words: exit_status(lambda: zero_shot.main(words)),
    "sample": lambda words: exit_status(lambda: sample.main(words)),
    "pretrained": lambda words: exit_status(lambda: pretrained.main(words)),
    "merge": lambda words: exit_status(lambda: merge.main(words)),
}

# What is typed, and what the one line must say.
MISTAKES = """
train lr=1e-3 | did you mean optimizer.lr?
train experiment=smoke learning_rate=1e-3 | did you mean optimizer.lr
train experiment=smoke optimizer.learning_rate=1 | did you mean optimizer.lr?
train experiment=smoke optimzer.lr=1 | did you mean optimizer.lr?
train experiment=smoke optimzer.learning_rate=1 | did you mean optimizer.lr
train experiment=smoke optimizer.beta1=0.9 | did you mean optimizer.betas
train experiment=smoke optimizer.wd=0.1 | did you mean optimizer.weight_decay?
train experiment=smoke weight_decay=0.1 | did you mean optimizer.weight_decay?
train experiment=smoke clip=1 | did you mean optimizer.grad_clip
train experiment=smoke steps=100 | did you mean schedule.tokens
train experiment=smoke epochs=3 | did you mean data.max_epochs
train experiment=smoke batch_size=8 | did you mean schedule.batch_tokens
train experiment=smoke warmup_steps=8 | did you mean schedule.warmup_tokens
train experiment=smoke gradient_accumulation_steps=8 | did you mean runtime.micro_batch
train experiment=smoke model.dropout=0.1 | this network has no dropout; leave it out
train experiment=smoke bias=false | this network has biases, as GPT-2 has; leave it out
train experiment=smoke start=once | text is drawn by python -m training.sample prompt=
sample checkpoint=x start=once | did you mean prompt?
train experiment=smoke layers=2 | did you mean model.n_layer
train experiment=smoke model.layers=2 | did you mean model.n_layer
train experiment=smoke heads=2 | did you mean model.n_head
train experiment=smoke d_model=64 | did you mean model.n_embd
train experiment=smoke seq_len=64 | did you mean model.block_size
train experiment=smoke model_size=124m | did you mean model
train experiment=smoke n_layer=2 | did you mean model.n_layer?
train experiment=smoke seeds=2 | did you mean seed
train experiment=smoke wandb=true | did you mean runtime.tracking=wandb?
train experiment=smoke bf16=true | did you mean precision=bf16?
train experiment=smoke dtype=bfloat16 | did you mean precision
train experiment=smoke precision=fp16 | one of float32, bf16
train experiment=smoke device=cpu | did you mean runtime.device?
train experiment=smoke gpus=8 | torchrun --standalone --nproc_per_node=8
train experiment=smoke nodes=4 | torchrun --nnodes=4
train experiment=smoke resume=true | the same command in the same out= goes on
train experiment=smoke weights=x | did you mean init_from
fit runs=t.csv weights=tokens | did you mean surface.weights
fit runs=t.csv zebra=tokens | known: runs,
train experiment=smoke output_dir=x | did you mean out
train experiment=smoke eval_interval=5 | did you mean runtime.evaluate_every_steps
train experiment=smoke hub.name=x | did you mean data.hub.name?
train experiment=smoke evaluation.window=first | did you mean evaluation.windows?
train experiment=smoke +evaluation.window=first | did you mean evaluation.windows?
train experiment=smoke evaluation.windows=frist | did you mean first?
train experiment=smoke schedule.tokens=10B | type 10e9
train experiment=smoke schedule.tokens=1.5M | type 1.5e6
train experiment=smoke schedule.name=constant_linear | as schedule.cooldown_fraction=0.2
train model=gpt2 | did you mean gpt2_124m?
train model=gpt2-xl | did you mean gpt2_1558m?
train experiment=quikstart | did you mean quickstart?
train --experiment smoke | type experiment=smoke
train --experiment=smoke | type experiment=smoke
train experiment=smoke --lr 1e-3 | type optimizer.lr=1e-3
train experiment=smoke --output-dir runs/x | type out=runs/x
train experiment=smoke -o runs/x | type out=runs/x
train experiment = smoke | expected none: experiment=smoke
train experiment= smoke | expected none: experiment=smoke
train experiment =smoke | expected none: experiment=smoke
train smoke | did you mean experiment=smoke?
train experiment=smoke plan | did you mean mode=plan?
train experiment=smoke mode=dryrun | did you mean plan?
train experiment=smoke launcher.slurm.gpus=3 | did you mean launcher.devices?
train | no experiment= given; as experiment=smoke
train mode=plan | no experiment= given; as experiment=smoke
train experiment=smoke grid.span=2 | reads no grid: sweep.py
train experiment=smoke schedule.tokens=1,000,000 | expected 1000000
train experiment=smoke seed=1,2 | expected one value
train experiment:smoke | did you mean experiment=smoke?
train experiment=smoke 'optimizer.lr: 3' | did you mean optimizer.lr=3?
train experiment=configs/experiment/smoke.yaml | did you mean smoke?
sweep mode=status | out: missing; mode=status needs a folder
sweep mode=status out=no/sweep | one begins by experiment=
sweep experiment=smoke mode=plan model.vocab_size=512 | expected 256 for data.tokenizer=bytes
sweep experiment=smoke mode=prepare model.vocab_size=512 | expected 256 for data.tokenizer
sweep mode=plan | no experiment= given; as experiment=smoke
sweep grid=isoflop_s mode=plan | no experiment= given; as experiment=smoke
sweep quickstart | did you mean experiment=quickstart?
sweep quikstart | did you mean experiment=quickstart?
sweep experiment=gpt2_124m mode=plan | it is for train.py
sweep experiment=gpt2_124m out=/tmp/none | it is for train.py
sweep experiment=smoke mode=stat | did you mean status?
sweep experiment=smoke mode=dryrun | did you mean plan?
sweep experiment=smoke price=3 | did you mean launcher.price_per_hour
sweep experiment=smoke launcher.price=3 | did you mean launcher.price_per_hour
sweep experiment=smoke launcher=slrum | did you mean slurm?
sweep experiment=smoke devices=8 | did you mean launcher.devices?
sweep experiment=smoke gpus=8 | did you mean launcher.slurm.gpus or launcher.devices?
sweep experiment=smoke lr=1e-3 | did you mean optimizer.lr? The grid sets it; change grid.rules.lr
sweep experiment=smoke steps=9 | did you mean schedule.tokens? The grid sets it; change grid.budgets
sweep experiment=smoke nodes=4 | did you mean launcher.slurm.workers
sweep experiment=smoke partition=a | did you mean launcher.slurm.partition?
sweep experiment=smoke launcher.slurm.gpu=8 | did you mean launcher.slurm.gpus?
sweep experiment=smoke launcher.slurm.gpus=8 mode=plan | choose it by launcher=slurm
sweep experiment=smoke grid.tuning.cost=0.1 mode=plan | choose it by grid=[NAME,tuning]
sweep experiment=smoke budgets=[1e17] | did you mean grid.budgets?
sweep experiment=smoke grid.budgets=[1e17, 1e18] | type grid.budgets=[1e17,1e18]
sweep experiment=smoke watch | did you mean watch=true?
sweep experiment=smoke slurm=true | did you mean launcher=slurm?
sweep experiment=smoke fit.law=isoflop | did you mean fit.laws?
sweep experiment=smoke fit.n_bootstraps=3 | did you mean fit.n_bootstrap?
fit runs=x drawings=false | known: runs, out, compare
fit runs=x price=3 | known: runs, out, compare
fit runs=x unit.params=1e6 | did you mean units.params?
fit runs=x units.parms=1e6 | did you mean params?
fit runs=x units.params=zillion | 1e9 or B
fit runs=x column.params=n | did you mean columns.params?
fit runs=x where=tuned | as where.NAME=VALUE
fit runs=x units=1e9 | as units.NAME=VALUE
fit runs=x predict=1e20 | expected a group of fields: predict.flops, predict.params
fit run=x | did you mean runs?
fit csv=x | did you mean runs
fit table.csv | did you mean runs=table.csv?
fit --runs table.csv | type runs=table.csv
fit | runs: missing
fit runs=x predict.flops=[1e20, 1e21] | type predict.flops=[1e20,1e21]
fit runs=x predict.flop=1e20 | did you mean predict.flops
fit runs=x predict.compute=1e20 | did you mean predict.flops
fit runs=x flops=1e20 | did you mean predict.flops
fit runs=x predict.flops=lots | predict.flops[0]: found 'lots'
fit runs=x law=isoflop | did you mean laws
fit runs=x laws=isoflp | did you mean isoflop?
fit runs=x laws=[chinchilla] | did you mean parametric?
fit runs=x bootstrap=100 | did you mean n_bootstrap
fit runs=x objective=l1 | did you mean lad?
fit runs=x group_by=recipe | did you mean by
fit runs=x model=toy | model: unknown key
prepare sauce=files | did you mean source?
prepare source=fils | did you mean files?
prepare source=files train_tokns=1 | did you mean train_tokens?
prepare book.txt | did you mean path=book.txt?
prepare experiment=smoke data.val_fractoin=0.1 | did you mean data.val_fraction?
prepare --source files | type source=files
zero_shot checkpoint=x task=hellaswag | did you mean tasks?
zero_shot checkpoint=x data=y tasks=[helaswag] | did you mean hellaswag?
zero_shot checkpoint=x data=y tasks=[hellaswag, lambada] | type tasks=[hellaswag,lambada]
zero_shot model=gpt2 data=y | did you mean checkpoint
sample runs/x | did you mean checkpoint=runs/x?
sample checkpoint=x temp=0 | did you mean temperature
sample checkpoint=x max_new_tokens=5 | did you mean tokens
pretrained exprot checkpoint=x out=y | did you mean export?
pretrained export chekpoint=x out=y | did you mean checkpoint?
pretrained | expected, before all fields, one of export, import
merge a b output=c | did you mean out
merge a b --out c | type out=c
merge a | expected A B [...] out=C
"""
# The same of the benchmarks, whose arguments are argparse's.
BENCHMARKS = {
    "benchmarks.throughput": (["--modells", "124m"], "did you mean --models?"),
    "benchmarks.step_choices": (["cpu-d"], "did you mean cpu-a?"),
    "benchmarks.run_costs": (["124n"], "did you mean 124m?"),
    "benchmarks.curves": (["many"], "rows: invalid int value"),
    "benchmarks.fit_speed": (["none.csv"], "none.csv: not found"),
    "benchmarks.plan_speed": (["x"], "unrecognized arguments: x"),
}
ROWS = [line.split(" | ", 1) for line in MISTAKES.strip().splitlines()]


@pytest.mark.parametrize(("typed", "cure"), ROWS, ids=[typed for typed, _ in ROWS])
def test_mistakes_end_in_one_line_with_the_cure(typed, cure, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command, *words = shlex.split(typed)
    assert COMMANDS[command](words) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and printed.err.startswith("error: "), printed.err
    assert cure in printed.err
    assert printed.out == "" and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", BENCHMARKS)
def test_mistakes_of_benchmarks_end_in_one_line(name, capsys):
    words, cure = BENCHMARKS[name]
    main = importlib.import_module(name).main
    assert exit_status(lambda: main(words)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and cure in error
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0 and f"python -m {name}" in capsys.readouterr().out


def test_meant_names_only_what_the_command_has():
    """Whatever is typed, each name that is offered is one of those given."""
    names = list(fit.KEYS.fields)
    for word in ("lr", "price", "devices", "optimizer.lr", "predict.x", "zzz", "", ".", "a.b.c"):
        for found in meant(word, names):
            assert " " in found or found in names or found.rpartition(".")[0] in names


@pytest.mark.parametrize(
    ("one", "other", "letters"),
    [("slurm", "slrum", 1), ("lr", "lr", 0), ("", "abc", 3), ("kitten", "sitting", 3)],
)
def test_distance_counts_letters_and_swaps(one, other, letters):
    assert distance(one, other) == distance(other, one) == letters


def test_nearest_prefers_spelling_to_a_part():
    assert nearest("isoflp", ["isoflop", "isoflop_m"]) == "isoflop"
    assert nearest("weight", ["lr", "weight_decay"]) == "weight_decay"
    assert nearest("xy", ["ab", "xz"]) is None
