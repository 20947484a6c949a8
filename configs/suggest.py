"""What was probably meant by a key or a value that is not known.

One table of the field's other words, then edit distance; always among names that are there.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from common.text import listed, shown

# What others call our fields, in order of preference; the first that the command has is named. A
# part in brackets is advice for a command that has none of them.
_OTHER_WORDS = (
    ("lr learning_rate learningrate rate peak_lr max_lr base_lr eta", "optimizer.lr"),
    ("min_lr final_lr lr_min end_lr min_lr_ratio", "schedule.final_lr_fraction"),
    ("lr_schedule scheduler lr_scheduler decay decay_type", "schedule.name"),
    ("wd decay_weight l2", "optimizer.weight_decay"),
    ("optim opt", "optimizer"),
    ("beta1 beta2 adam_beta1 adam_beta2 beta momentum", "optimizer.betas"),
    ("epsilon adam_eps", "optimizer.eps"),
    ("clip clip_grad gradient_clip grad_norm max_grad_norm clipping", "optimizer.grad_clip"),
    ("batch batch_size bs global_batch_size total_batch_size train_batch_size"
     " batch_tokens tokens_per_batch tokens_per_step", "schedule.batch_tokens"),
    ("micro_batch_size microbatch device_batch_size mbs grad_accum accumulate accumulation"
     " gradient_accumulation gradient_accumulation_steps", "runtime.micro_batch"),
    ("step steps n_steps num_steps max_steps total_steps train_steps iters n_iters max_iters"
     " num_iterations iterations token tokens n_tokens num_tokens train_tokens max_tokens duration"
     " horizon training_tokens", "schedule.tokens", "predict.tokens"),
    ("epoch epochs n_epochs num_epochs max_epoch", "data.max_epochs", "max_epochs"),
    ("warmup warm_up warmup_steps n_warmup warmup_iters warmup_ratio",
     "schedule.warmup_tokens"),
    ("cooldown cool_down decay_fraction cooldown_steps", "schedule.cooldown_fraction"),
    ("layers layer n_layers num_layers nlayer nlayers depth num_hidden_layers blocks"
     " n_blocks", "model.n_layer"),
    ("heads head n_heads num_heads nhead nheads num_attention_heads attention_heads",
     "model.n_head"),
    ("width d_model dmodel dim n_dim embd emb embedding n_embed n_emb hidden hidden_size"
     " d_embed embed_dim embedding_dim", "model.n_embd"),
    ("context ctx n_ctx context_length ctx_len seq_len seqlen sequence_length seq_length"
     " max_seq_len block blocksize n_positions block_length", "model.block_size"),
    ("vocab vocabulary n_vocab vocab_size vocabulary_size", "model.vocab_size", "vocab_size"),
    ("std init initializer_range init_scale", "model.init_std"),
    ("dropout resid_pdrop attn_pdrop embd_pdrop", "[this network has no dropout; leave it out]"),
    ("bias", "[this network has biases, as GPT-2 has; leave it out]"),
    ("start", "prompt", "[text is drawn by python -m training.sample prompt=]"),
    ("size model_size modelsize n_params num_params parameters n_parameters param params n",
     "grid.sizes", "predict.params", "columns.params", "model"),
    ("arch architecture network net gpt gpt2 model_name preset", "model"),
    ("flop flops compute budget budgets c", "grid.budgets", "predict.flops"),
    ("predict prediction predictions target", "predict.flops"),
    ("price cost price_per_gpu_hour dollars usd hourly cost_per_hour rate_per_hour",
     "launcher.price_per_hour"),
    ("devices device_count gpus gpu n_gpus num_gpus ngpu ngpus n_devices num_devices"
     " nproc nproc_per_node world_size", "launcher.devices",
     "[for several GPUs: torchrun --standalone --nproc_per_node=8, then the command]"),
    ("nodes node n_nodes num_nodes nnodes workers worker n_workers jobs array",
     "launcher.slurm.workers", "[for several nodes: torchrun --nnodes=4, then the command]"),
    ("gpu_type gpu_name accelerator hardware", "launcher.device", "runtime.device"),
    ("device cuda cpu use_gpu backend", "runtime.device", "device"),
    ("partition queue", "launcher.slurm.partition"),
    ("account", "launcher.slurm.account"),
    ("time walltime time_limit wall_time", "launcher.slurm.time"),
    ("cpus cores n_cpus", "launcher.slurm.cpus", "runtime.threads"),
    ("mem memory ram", "launcher.slurm.mem"),
    ("slurm cluster sbatch", "launcher=slurm"),
    ("threads n_threads num_threads omp_num_threads", "runtime.threads"),
    ("timeout", "runtime.timeout_s"),
    ("wandb track tracker use_wandb wandb_log logger report_to", "runtime.tracking=wandb"),
    ("wandb_project project wandb_run_name run_name job_name",
     "[name the folder by out=, which Weights & Biases shows]"),
    ("bf16 bfloat16 amp mixed_precision autocast", "precision=bf16"),
    ("fp32 float32", "precision=float32"),
    ("fp16 float16 dtype half compute_dtype torch_dtype data_type", "precision"),
    ("torch_compile compiled jit", "runtime.compile"),
    ("flash flash_attention attention attn sdp attn_implementation", "runtime.sdpa"),
    ("eval_interval eval_every eval_steps val_interval evaluate_every eval_freq"
     " val_every", "runtime.evaluate_every_steps"),
    ("log_interval log_every log_steps logging_steps log_freq", "runtime.log_every_steps"),
    ("save_interval save_steps save_every checkpoint_interval checkpoint_every ckpt_every",
     "runtime.checkpoint_every_s"),
    ("eval_tokens val_size eval_iters eval_batches val_tokens", "evaluation.tokens"),
    ("keep_last save_total_limit", "runtime.keep_checkpoints"),
    ("load from_pretrained pretrained finetune init weights checkpoint ckpt load_from",
     "init_from", "checkpoint"),
    ("resume resume_from restart continue", "[the same command in the same out= goes on]"),
    ("random_seed rng rng_seed seeds n_seeds num_seeds", "grid.seeds", "seed"),
    ("output output_dir outdir out_dir save_dir savedir dir folder run_dir logdir log_dir o"
     " output_path dest save to", "out"),
    ("dataset data_set corpus train_data", "data", "source"),
    ("data_path text_file train_file", "data.path", "path", "text", "data"),
    ("datadir cache cache_dir data_cache data_root", "runtime.data_dir", "out"),
    ("tokeniser encoding tok", "data.tokenizer", "tokenizer"),
    ("exp config cfg recipe experiment_name", "experiment"),
    ("run input inputs csv table file files path data sweep runs_dir results", "runs"),
    ("column cols col rename mapping", "columns"),
    ("filter select query only subset", "where"),
    ("group group_by groupby facet split", "by"),
    ("law methods method fits approach approaches", "laws", "fit.laws"),
    ("bootstrap bootstraps resamples n_boot samples n_resamples", "n_bootstrap",
     "fit.n_bootstrap", "samples"),
    ("unit scale", "units"),
    ("ignore skip drop omit", "exclude"),
    ("baseline against reference", "compare"),
    ("hold_out test validation", "holdout"),
    ("huber_delta", "delta"),
    ("loss_fn loss_function", "objective"),
    ("model ckpt_path model_path", "checkpoint"),
    ("task benchmark benchmarks evals", "tasks"),
    ("max_samples n_samples num_samples num_fewshot n", "limit", "samples"),
    ("max_new_tokens length n_tokens max_length", "tokens"),
    ("temp t", "temperature"),
    ("topk k", "top_k"),
    ("dry_run dryrun plan estimate", "mode=plan"),
    ("status list show", "mode=status"),
    ("follow live monitor", "watch=true"),
    ("overwrite force", "launcher.force", "[give another out=]"),
    ("rerun again retry_failed", "retry"),
    ("add append more", "extend"),
)  # fmt: skip


def _by_word() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for words, *meanings in _OTHER_WORDS:
        for word in words.split():
            found[word] = (*found.get(word, ()), *meanings)
    return found


SYNONYMS = _by_word()

# What others call our choices.
NAMES = {
    **{"gpt2": "gpt2_124m", "small": "gpt2_124m", "124m": "gpt2_124m", "gpt2_small": "gpt2_124m"},
    **{"gpt2_medium": "gpt2_350m", "medium": "gpt2_350m", "355m": "gpt2_350m"},
    **{"gpt2_large": "gpt2_774m", "large": "gpt2_774m"},
    **{"gpt2_xl": "gpt2_1558m", "xl": "gpt2_1558m", "1.5b": "gpt2_1558m", "1558m": "gpt2_1558m"},
    **{"chinchilla": "parametric", "approach3": "parametric", "approach2": "isoflop"},
    **{"approach1": "envelope", "surface": "parametric"},
    **{"gpu": "cuda", "bfloat16": "bf16", "fp32": "float32", "adam": "adamw", "linear": "constant"},
    **{"openwebtext2": "openwebtext", "owt": "openwebtext", "txt": "files", "text": "files"},
    **{"huggingface": "hf", "byte": "bytes", "tiktoken": "gpt2", "sgd": "adamw"},
    **{"mse": "least_squares", "l2": "least_squares", "l1": "lad", "true": "wandb"},
    **{
        "min": "best",
        "dry_run": "plan",
        "dryrun": "plan",
        "dry": "plan",
        "estimate": "plan",
        "train": "run",
        "resume": "run",
        "show": "status",
    },
}


def distance(one: str, other: str) -> int:
    """Letters to insert, drop, change or swap with their neighbour (Damerau; each place once)."""
    before, last = list[int](), list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        now = [i]
        for j, b in enumerate(other, 1):
            least = min(last[j] + 1, now[j - 1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                least = min(least, before[j - 2] + 1)
            now.append(least)
        before, last = last, now
    return last[-1]


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The name that was meant by `word`, if one is near: by spelling, by its start or a part."""
    there = list(dict.fromkeys(names))
    plain = {_plain(name): name for name in reversed(there)}
    typed = _plain(word)
    if typed in plain:
        return plain[typed]
    if (known := NAMES.get(typed)) in there:
        return known
    most = max(1, (len(typed) + 1) // 3) if len(typed) > 2 else 0
    close = {name: distance(typed, short) for short, name in plain.items()}
    if close and min(close.values()) <= most:
        return min(there, key=lambda name: close.get(name, 99))
    if len(typed) > 2:
        for fits in (str.startswith, str.__contains__):
            if found := [name for short, name in plain.items() if fits(short, typed)]:
                return min(found, key=there.index)
    return None


def _plain(word: str) -> str:
    return word.strip().lower().replace("-", "_").replace(" ", "_")


def meant(key: str, names: Sequence[str]) -> list[str]:
    """What may have been meant by an unknown key: names, `name=value`, or advice in words.

    `names` are all that the command knows, dotted. A name of the same group counts first, then
    the other words of the field, then spelling.
    """
    group, _, last = key.rpartition(".")
    if longer := [name for name in names if group and name.endswith(f".{key}")]:
        return longer[:3]
    groups = {name.rpartition(".")[0] for name in names} | set(names)
    if group and group not in groups and (within := _mended(group, groups)):
        mended = f"{within}.{last}"
        is_open = not any(name.startswith(f"{within}.") for name in names)
        return [mended] if is_open or mended in names else meant(mended, names) or [within]
    inside = [name for name in names if name.rpartition(".")[0] == group]
    words = SYNONYMS.get(_plain(last), ())
    there = [word for word in words if word.partition("=")[0] in names]
    if found := [word for word in there if word.partition("=")[0] in inside]:
        return found[:1]
    near = nearest(last, [name.rpartition(".")[2] for name in inside])
    if near and group:
        return [f"{group}.{near}"]
    alike = [name for name in names if name.rpartition(".")[2] == _plain(last)]
    if alike or there:
        return there[:1] if set(there[:1]) & set(alike) else [*alike[:2], *there[:1]]
    if advice := [word[1:-1] for word in words if word[0] == "["]:
        return advice[:1]
    if near:
        return [near]
    leaves = dict.fromkeys(name.rpartition(".")[2] for name in names)
    if near := _near_leaf(last, list(leaves)):
        return [name for name in names if name.rpartition(".")[2] == near][:3]
    return []


def _near_leaf(word: str, leaves: Sequence[str]) -> str | None:
    """By spelling alone: a part of one of so many names would be chance."""
    typed = _plain(word)
    close = {leaf: distance(typed, leaf) for leaf in leaves}
    best = min(leaves, key=lambda leaf: close[leaf], default=None)
    return best if best and len(typed) > 3 and close[best] <= max(1, len(typed) // 4) else None


def _mended(group: str, groups: Iterable[str]) -> str | None:
    """The group that was meant by a misspelt one, within the one above it where that is known."""
    there = set(groups)
    alike = sorted(g for g in there if g and g.count(".") == group.count("."))
    above, dot, last = group.rpartition(".")
    if dot and above in there:
        inside = [g.rpartition(".")[2] for g in alike if g.rpartition(".")[0] == above]
        near = nearest(last, inside)
        return f"{above}.{near}" if near else None
    return nearest(group, alike)


def cure(
    key: str,
    names: Sequence[str],
    about: Mapping[str, str] | None = None,
    notes: Mapping[str, str] | None = None,
) -> str:
    """What to type instead of an unknown key: `did you mean optimizer.lr?`, or what there is.

    `about` says what each field is, for a word unlike its name; `notes` what to know before it is
    typed.
    """
    found = meant(key, names)
    if found and " " in found[0]:
        return found[0]
    if found:
        text = " or ".join(found)
        if text in (notes or {}):
            return f"did you mean {text}? {notes[text]}"  # type: ignore[index]
        first = re.split(r"[:;,(.] ?", (about or {}).get(text, ""))[0].strip()
        is_alike = distance(text.rpartition(".")[2], key.rpartition(".")[2]) <= 2
        return f"did you mean {text}?" + (f" ({first})" if first and not is_alike else "")
    group = key.rpartition(".")[0]
    inside = [name for name in names if name.rpartition(".")[0] == group]
    return f"known: {listed(inside or [name for name in names if '.' not in name])}"


def one_of(value: object, choices: Iterable[str]) -> str:
    """`one of a, b`, with the nearest to what was found."""
    known = list(choices)
    near = nearest(str(value), known) if isinstance(value, str) else None
    return f"one of {listed(known)}" + (f"; did you mean {shown(near)}?" if near else "")
