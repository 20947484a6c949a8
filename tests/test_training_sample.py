"""Sampling: the likeliest at temperature 0, the right frequencies above it, the same by seed."""

import math
from dataclasses import replace

import pytest
import torch

from common.errors import BadInput
from data.prepare import prepare
from model import pretrained
from model.pretrained import read_pretrained
from tests.support.tiny_training import prepared_config, train_once
from training import sample
from training.sample import Words, choose, write_samples

LOGITS_V = torch.tensor([0.0, math.log(2), math.log(5), -torch.inf])


def draw(words: Words, count: int) -> list[float]:
    generator = torch.Generator().manual_seed(0)
    drawn = [choose(LOGITS_V, words, generator) for _ in range(count)]
    return [drawn.count(token) / count for token in range(4)]


@pytest.mark.parametrize("temperature, top_k, expected", [
    (0.0, None, [0, 0, 1, 0]),
    (1.0, None, [1 / 8, 2 / 8, 5 / 8, 0]),
    (0.5, None, [1 / 30, 4 / 30, 25 / 30, 0]),
    (1.0, 2, [0, 2 / 7, 5 / 7, 0]),
    (1.0, 1, [0, 0, 1, 0]),
    (1.0, 99, [1 / 8, 2 / 8, 5 / 8, 0]),
])  # fmt: skip
def test_sample_tokens_come_as_often_as_their_probability(temperature, top_k, expected):
    """Tokens come as often as their probability."""
    found = draw(Words("", temperature=temperature, top_k=top_k), 4000)
    assert found == pytest.approx(expected, abs=0.03)


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    train_once(prepared_config(folder), folder / "trial")
    return folder / "trial"


def test_sample_begins_with_the_prompt_and_repeats_by_seed(trial):
    """Samples begin with the prompt and repeat by seed."""
    found = read_pretrained(str(trial))
    words = Words(str(trial), prompt="ab", tokens=40, samples=3, device="cpu")
    texts = write_samples(words, found)
    assert len(set(texts)) == 3 and all(text.startswith("ab") for text in texts)
    assert write_samples(words, found) == texts
    assert all(len(text) <= 42 for text in texts)


def test_sample_refuses_a_prompt_that_is_no_text(trial):
    """Bytes of the command line that are not UTF-8, and what a byte model cannot hold."""
    for prompt, found in (("a\udcff", "half a surrogate pair at character 2"), ("a\0", "a NUL")):
        with pytest.raises(BadInput, match=f"^prompt: found {found}"):
            write_samples(Words(str(trial), prompt=prompt), read_pretrained(str(trial)))


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_sample_refuses_weights_that_are_no_numbers(trial, temperature):
    """Nothing is drawn from likelihoods that are none, be it by chance or the largest."""
    found = read_pretrained(str(trial))
    broken = {name: weight.clone() for name, weight in found.state.items()}
    broken["ln_f.weight"][0] = math.nan
    words = Words(str(trial), temperature=temperature, device="cpu")
    with pytest.raises(BadInput, match=f"^checkpoint: {trial}: found likelihoods"):
        write_samples(words, replace(found, state=broken))


def test_sample_greedy_text_is_that_of_transformers(tmp_path, capsys):
    """Greedy text is that of transformers with the exported tokenizer.

    A model over a learnt tokenizer, out and back: nothing but the folder is needed.
    """
    transformers = pytest.importorskip("transformers")
    config = prepared_config(tmp_path, 30, model__vocab_size=300)
    learnt = replace(config.data, tokenizer="bpe", vocab_size=300)
    config = replace(config, data=learnt)
    train_once(config, tmp_path / "trial")
    [shards] = (tmp_path / "shards").iterdir()
    trial, out, back = (f"{tmp_path / name}" for name in ("trial", "hf", "back"))
    pretrained.main(["export", f"checkpoint={trial}", f"out={out}", f"tokenizer={shards}"])
    pretrained.main(["import", f"checkpoint={out}", f"out={back}"])
    capsys.readouterr()
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(out)
    begin = tokenizer("return self", return_tensors="pt")["input_ids"]
    begin = torch.cat([torch.tensor([[tokenizer.eos_token_id]]), begin], dim=1)
    room = config.model.block_size - begin.shape[1]
    ids = theirs.generate(begin, do_sample=False, max_new_tokens=room)[0, 1:]
    for source, more in {
        trial: [f"tokenizer={shards / 'tokenizer.json'}"],
        out: [],
        back: [],
    }.items():
        words = ["temperature=0", f"tokens={room}", "device=cpu", "prompt=return self", *more]
        assert sample.main([f"checkpoint={source}", *words]) == 0
        assert capsys.readouterr().out == tokenizer.decode(ids, skip_special_tokens=True) + "\n"
    with pytest.raises(BadInput, match=r"^tokenizer: missing; .* tokenizer=FOLDER"):
        sample.main([f"checkpoint={trial}"])
    folder = prepare(replace(learnt, vocab_size=299), tmp_path / "other")
    for command in (sample.main, lambda words: pretrained.main(["export", *words, "out=x"])):
        with pytest.raises(BadInput, match=r"^tokenizer: .*: found 299 ids, expected .* 300$"):
            command([f"checkpoint={trial}", f"tokenizer={folder}"])


def test_sample_command_prints_and_refuses(trial, capsys):
    """The command prints and refuses."""
    assert sample.main([f"checkpoint={trial}", "prompt=a=b", "tokens=5", "device=cpu"]) == 0
    assert capsys.readouterr().out.startswith("a=b")
    for words, complaint in {
        ("tokens=0",): "sample.tokens: found 0",
        ("temperature=-1",): "sample.temperature: found -1",
        ("checkpoint=/no/such",): "checkpoint: found twice",
    }.items():
        with pytest.raises(BadInput, match=complaint):
            sample.main([f"checkpoint={trial}", *words])
