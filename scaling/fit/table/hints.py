"""What to type where a needed column is missing: a column that means it, or the arithmetic.

A column is named by what all of its words mean, never because a word of it is part of another.
"""

import difflib
import keyword
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

from scaling.fit.table.schema import is_usual, usual_order

# What a column's name must be about, and the other words that it may have without being another
# thing: tokens_per_param, params_embedding and z_loss have words beside these.
_ABOUT = {
    "params": "params param parameters parameter nparams",
    "tokens": "tokens token ntokens toks",
    "loss": "loss nll xent ce perplexity ppl verlust",
}
_COUNT = "n num number of total count in the model cfg config m k b t million millions mil mio "
_COUNT += "billion billions bn mrd thousand thousands tsd trillion trillions mm"
_BESIDE = {
    "params": _COUNT
    + " trainable trained non nonembedding nonembed noembed embedding embeddings embed wo without "
    "excl excluding no matmul effective all",
    "tokens": _COUNT + " train training trained seen consumed processed data d",
    "loss": "val valid validation eval evaluation test heldout held out dev final best last min "
    "end train training cross entropy ce nll lm per token nats bits mean avg the",
}
_NOT_ALONE = frozenset(["embedding", "embeddings", "embed"])
_WITHOUT = frozenset(["non", "no", "wo", "without", "excl", "excluding"])
_HELD_OUT = {"val", "valid", "validation", "eval", "evaluation", "test", "heldout", "held", "dev"}
_NOT_LM = {"z", "aux", "auxiliary", "router", "balance", "balancing", "reg", "regularization"}
_SCALES = {
    **dict.fromkeys(["k", "thousand", "thousands", "tsd"], "1e3"),
    **dict.fromkeys(["m", "mm", "mil", "mio", "million", "millions"], "1e6"),
    **dict.fromkeys(["b", "bn", "mrd", "billion", "billions"], "1e9"),
    **dict.fromkeys(["t", "trillion", "trillions"], "1e12"),
    **dict.fromkeys(["pflop", "pflops"], "1e15"),
    **dict.fromkeys(["eflop", "eflops"], "1e18"),
    **dict.fromkeys(["zflop", "zflops"], "1e21"),
}
# Parts of a program's settings, which stand before a name and change nothing of it.
_SETTINGS = "config cfg conf args hparams hyperparameters hyperparams settings summary run "
_SETTINGS += "experiment train trainer training model network arch architecture data dataset optim "
_FOLDERS = frozenset((_SETTINGS + "optimizer").split())
# Columns from which a missing one follows, by what they are called.
_PARTS = {
    "flops": "flops flop compute total_flops train_flops training_flops training_compute c",
    "steps": "steps n_steps num_steps train_steps training_steps total_steps max_steps iterations "
    "iters n_iters num_iterations max_iters train_iters updates num_updates global_step step iter",
    "batch_tokens": "batch_tokens tokens_per_batch tokens_per_step batch_size_tokens "
    "batch_size_in_tokens global_batch_size_tokens global_batch_tokens",
    "batch": "batch_size global_batch_size train_batch_size total_batch_size global_bs bs batch",
    "length": "seq_len seqlen seq_length sequence_length sequence_len context_length context_len "
    "context ctx_len n_ctx block_size max_seq_len max_sequence_length",
    "ratio": "tokens_per_param tokens_per_parameter tokens_per_params token_per_param tpp "
    "token_param_ratio tokens_param_ratio tokens_to_params chinchilla_ratio d_over_n d_n",
    "layers": "n_layer n_layers num_layers num_hidden_layers layers nlayer nlayers depth",
    "width": "n_embd d_model hidden_size hidden_dim width dim model_dim n_embed embed_dim dmodel",
    "vocab": "vocab_size n_vocab vocabulary_size vocab",
}
# What a ratio of tokens to parameters is called, in this order.
_RATIO = {
    "tokens": frozenset(["tokens", "token", "tok", "toks", "d"]),
    "params": frozenset(["params", "param", "parameters", "parameter", "p", "n"]),
    "beside": frozenset(["per", "to", "over", "ratio", "chinchilla"]),
}


def remedy(missing: Sequence[str], columns: Sequence[str]) -> str:
    """What to type for the missing columns of a table, all at once; empty where nothing is near.

    `columns` are those that nothing is read from.
    """
    maps = {name: found for name in missing if (found := nearest(name, columns))}
    known = {name: name for name in ("params", "tokens") if name not in missing or name in maps}
    formulas = {
        name: found
        for name in missing
        if name not in maps and (found := _formula(name, known, columns))
    }
    typed = [word for name, theirs in maps.items() for word in _mapping(name, theirs)]
    typed += [f'derive.{name}="{text}"' for name, text in formulas.items()]
    if not typed:
        return ""
    verb = "map" if not formulas else "compute" if not maps else "give"
    return f"; {verb} {'them' if len(maps) + len(formulas) > 1 else 'it'}, as {' '.join(typed)}"


def nearest(name: str, columns: Sequence[str]) -> str | None:
    """The column that is `name` by the meaning of its words, or but for a slip of spelling."""
    likely = [
        *usual_order(name, columns),
        *(column for column in columns if is_usual(name, column)),
        *(c for c in columns if name != "loss" and is_usual(name, "_".join(_without_unit(c)))),
        *sorted((c for c in columns if _means(name, c)), key=lambda c: _rank(name, c)),
        *difflib.get_close_matches(name, columns, 1, 0.85),
    ]
    if name == "loss":  # a loss held out of text that its name says, as eval/c4_en/loss, too
        held_out = [c for c in columns if is_held_out(c) and not _NOT_LM.intersection(words_of(c))]
        likely += [column for column in held_out if "loss" in words_of(column)[-2:]]
        likely.sort(key=is_of_training)
    return likely[0] if likely else None


def words_of(column: str) -> list[str]:
    """The words of a name in lower case: of nParams, `Val Loss` and val/loss two each."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", column)
    return re.findall(r"[a-z]+|[0-9]+", apart.lower())


def scale_of(column: str) -> str | None:
    """The unit that a count's name says it has, as 1e6 of params_M."""
    found = [_SCALES[word] for word in words_of(column)[1:] if word in _SCALES]
    return found[0] if found else None


def is_held_out(column: str) -> bool:
    """Whether the name of a loss says that it is of text not trained on."""
    return bool(_HELD_OUT & set(words_of(column)))


def is_of_training(column: str) -> bool:
    """Whether the name of a loss says that it is the one trained on."""
    return bool({"train", "training"}.intersection(words_of(column)))


def is_loss_by_meaning(column: str) -> bool:
    """Whether a column is a cross entropy, or a perplexity, by all of its words."""
    return _means("loss", column)


def _means(name: str, column: str) -> bool:
    words = words_of(column)
    about, beside = set(_ABOUT[name].split()), set(_BESIDE[name].split())
    if not about.intersection(words) or set(words) - about - beside:
        return False
    return not _NOT_ALONE.intersection(words) or bool(_WITHOUT.intersection(words))


def _rank(name: str, column: str) -> tuple[bool, bool, int]:
    """Losses held out come first, then the shorter name."""
    training = name == "loss" and is_of_training(column)
    return training, name == "loss" and not is_held_out(column), len(words_of(column))


def _mapping(name: str, theirs: str) -> Iterable[str]:
    """What maps a column, quoted where a shell would divide it, and the unit that its name says."""
    yield shlex.quote(f"columns.{name}={theirs}")
    words = set(words_of(theirs))
    if name != "loss" and (scale := scale_of(theirs)):
        yield f"units.{name}={scale}"
    elif name == "loss" and words & {"ppl", "perplexity"}:
        yield "loss_unit=ppl"
    elif name == "loss" and "bits" in words:
        yield "loss_unit=bits"


def _formula(name: str, known: Mapping[str, str], columns: Sequence[str]) -> str | None:
    """The arithmetic over a table's columns that gives a missing one, if one is obvious."""
    for base, power in (("log10", "10"), ("log2", "2"), ("ln", "2.718281828459045")):
        for column in columns:
            head, *rest = re.split("[^a-z0-9]+", column.lower())
            if head == base and _means(name, "_".join(rest)):
                return f"{power}**{_quoted(column)}"
    have = {part: found for part in _PARTS if (found := _named(part, columns))}
    one = {**have, **{part: _quoted(column) for part, column in known.items()}}
    if name == "tokens":
        if {"ratio", "params"} <= set(one):
            return f"{one['ratio']}*{one['params']}"
        if {"steps", "batch_tokens"} <= set(one):
            return f"{one['steps']}*{one['batch_tokens']}"
        if {"steps", "batch", "length"} <= set(one):
            return f"{one['steps']}*{one['batch']}*{one['length']}"
        if {"flops", "params"} <= set(one):
            return f"{one['flops']}/(6*{one['params']})"
    if name == "params":
        if {"layers", "width"} <= set(one):  # model/flops.py: params_matmul, params_non_embedding
            layers = f"12*{one['layers']}*{one['width']}**2"
            return layers + (f"+{one['vocab']}*{one['width']}" if "vocab" in one else "")
        parts = [column for column in columns if _is_part_of_params(column)]
        if len(parts) > 1:
            return "+".join(map(_quoted, parts))
        if {"flops", "tokens"} <= set(one):
            return f"{one['flops']}/(6*{one['tokens']})"
        if {"ratio", "tokens"} <= set(one):
            return f"{one['tokens']}/{one['ratio']}"
    return None


def _named(part: str, columns: Sequence[str]) -> str | None:
    """The column that is called one of the names of a part, in any folder, as a formula has it."""
    found: dict[str, str] = {}
    for bare in (False, True):  # a name as it stands comes before one without its folder
        for column in columns:
            words = _without_unit(column)
            scale = scale_of(column) if words != words_of(column) else None
            while bare and words and words[0] in _FOLDERS:
                words = words[1:]
            text = _quoted(column) + (f"*{scale}" if scale else "")
            found.setdefault("_".join(words), text)
            if part == "ratio" and _is_ratio(words):
                found.setdefault("tokens_per_param", text)
    return next((found[name] for name in _PARTS[part].split() if name in found), None)


def _without_unit(column: str) -> list[str]:
    """The words of a name but the unit at its end; what is left is more than a letter."""
    words = words_of(column)
    least = 2 if words and len(words[0]) == 1 else 1
    while len(words) > least and words[-1] in _SCALES:
        words = words[:-1]
    return words


def _is_ratio(words: Sequence[str]) -> bool:
    """Whether words say tokens per parameter and nothing else, as tok/param does."""
    about = [
        next((name for name in ("tokens", "params") if word in _RATIO[name]), word)
        for word in words
        if word not in _RATIO["beside"]
    ]
    return about == ["tokens", "params"]


def _is_part_of_params(column: str) -> bool:
    """Whether a column counts some of the parameters, as params_lm_head does."""
    words = words_of(column)
    is_count = words[:1] in (["params"], ["param"]) or words[-1:] in (["params"], ["param"])
    no_part = _is_ratio(words) or {"per", "ratio", "active"}.intersection(words)
    return is_count and len(words) > 1 and not no_part


def _quoted(column: str) -> str:
    """A column's name as a formula has it."""
    parts = column.split(".")
    plain = all(part.isidentifier() and not keyword.iskeyword(part) for part in parts)
    return column if plain else f"'{column}'"
