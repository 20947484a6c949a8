"""Scores equal a plain loop; measures are those worked out by hand; two ranks say what one says."""

import json
import math
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_training import alone, prepared_config, train_once

from configs.errors import BadInput
from model.config import GPTConfig
from model.gpt import GPT
from training import zero_shot
from training.scoring import Request, Score, rolling, score
from training.zero_shot_tasks import (
    Choice,
    Vocabulary,
    continuation,
    last_words,
    multiple_choice,
    read_hellaswag,
    read_passages,
    read_text,
    running_text,
)

TINY = GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=12, vocab_size=256, init_std=0.3)
BYTES = Vocabulary(lambda text: list(text.encode()), 0, 12)
ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(("name", "found"), [
    ("nowhere", "found no such folder, expected a folder"),
    ("text.txt", "found a file, expected a folder with hellaswag_val.jsonl"),
    ("", "found no hellaswag_val.jsonl or hellaswag_val.jsonl.xz in it; put it there, or"),
])  # fmt: skip
def test_missing_data_are_told_with_the_remedy(tmp_path, name, found) -> None:
    (tmp_path / "text.txt").write_text("text")
    with pytest.raises(BadInput, match=f"^data: .*{found}"):
        zero_shot._file(tmp_path / name, "hellaswag_val.jsonl")


@pytest.fixture(scope="module")
def network() -> GPT:
    return GPT(TINY, torch.Generator().manual_seed(0)).eval()


def plainly(network: GPT, request: Request) -> Score:
    """One token at a time, with the context that fits."""
    ids, logprob, greedy = list(request.context), 0.0, True
    before = max(0, len(request.context) + len(request.target) - 1 - TINY.block_size)
    for token in request.target:
        with torch.no_grad():
            row = network(torch.tensor([ids[before:]]))[0, -1].double().log_softmax(-1)
        logprob += row[token].item()
        greedy &= int(row.argmax()) == token
        ids.append(token)
    return Score(logprob, greedy, len(request.target))


def test_scores_are_those_of_a_plain_loop(network):
    draws = torch.Generator().manual_seed(1)
    requests = []
    for _ in range(40):
        lengths = torch.randint(1, 30, (2,), generator=draws).tolist()
        ids = torch.randint(256, (sum(lengths),), generator=draws).tolist()
        target = ids[lengths[0] :][: TINY.block_size]
        requests.append(Request(tuple(ids[: lengths[0]]), tuple(target)))
    with torch.no_grad():  # and one that greedy decoding gives
        best = int(network(torch.tensor([[65]]))[0, -1].argmax())
    requests.append(Request((65,), (best,)))
    found = score(network, requests, alone(), nullcontext)
    for request, got in zip(requests, found, strict=True):
        expected = plainly(network, request)
        assert got.logprob == pytest.approx(expected.logprob, abs=1e-4)
        assert (got.is_greedy, got.tokens) == (expected.is_greedy, expected.tokens)
    assert found[-1].is_greedy


@given(st.integers(1, 100), st.integers(1, 20))
def test_rolling_windows_ask_for_each_token_once_and_fit(count, block_size):
    tokens = list(range(1, count + 1))
    requests = rolling(tokens, 0, block_size)
    assert [token for request in requests for token in request.target] == tokens
    for request in requests:
        first = request.target[0]
        assert request.context == tuple(range(first - len(request.context), first))
        assert len(request.context) + len(request.target) <= block_size + 1
    last = requests[-1]
    assert len(last.context) + len(last.target) == min(count, block_size) + 1


@given(st.text("ab \n", max_size=20), st.text("ab c", min_size=1, max_size=6))
def test_context_and_target_make_up_the_text(context, word):
    target = " " + word
    request = continuation(context, target, BYTES)
    text = (context + target).encode()[-len(request.target) :]
    assert bytes(request.target) == text[-BYTES.block_size :]
    before = bytes(request.context) if request.context != (0,) else b""
    assert (
        len(request.target) == 12 or before + bytes(request.target) == (context + target).encode()
    )


def test_choices_by_hand():
    """acc takes -2 of the short answer; per character and per token the long one wins."""
    questions = [Choice("Q", ("ab", "abcdefgh"), 1), Choice("Q", ("ab", "cd"), 0)]
    task = multiple_choice(questions, BYTES)
    assert [bytes(r.target) for r in task.requests] == [b" ab", b" abcdefgh", b" ab", b" cd"]
    scores = [Score(-2.0, False, 1), Score(-4.0, False, 4), Score(-1.0, False, 2),
              Score(-3.0, False, 2)]  # fmt: skip
    # Question 1: per character -1 against -0.5, per token -2 against -1.
    assert task.measures(scores) == {"acc": 0.5, "acc_norm": 1.0, "acc_norm_tokens": 1.0}


def test_last_words_by_hand():
    task = last_words(["the cat sat", "on a mat"], BYTES)
    assert [bytes(r.target) for r in task.requests] == [b" sat", b" mat"]
    assert bytes(task.requests[0].context) == b"the cat"
    found = task.measures([Score(-1.0, True, 4), Score(-3.0, False, 4)])
    assert found == {"acc": 0.5, "perplexity": pytest.approx(math.exp(2))}


def test_a_network_that_knows_nothing_has_the_vocabularys_perplexity(network):
    blank = GPT(TINY, torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        for parameter in blank.parameters():
            parameter.zero_()
    task = running_text("one two  three \u00e9\n" * 9, BYTES)
    found = task.measures(score(blank, task.requests, alone(), nullcontext))
    assert found["loss"] == pytest.approx(math.log(256), rel=1e-6)
    assert found["perplexity"] == pytest.approx(256, rel=1e-5)
    assert found["bits_per_byte"] == pytest.approx(8, rel=1e-6)
    per_word = len("one two  three \u00e9\n".encode()) / 4
    assert found["word_perplexity"] == pytest.approx(256**per_word, rel=1e-4)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory) -> tuple[Path, Path]:
    """A tiny trial over bytes, and a folder of tasks."""
    folder = tmp_path_factory.mktemp("zero_shot")
    train_once(prepared_config(folder), folder / "trial")
    data = folder / "data"
    data.mkdir()
    rows = [
        {"ctx": f"A man {i}", "activity_label": "Work", "label": i % 2, "endings": ["runs", "sits"]}
        for i in range(7)
    ]
    (data / "hellaswag_val.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    passages = "".join(json.dumps({"text": f"one {i} two"}) + "\n" for i in range(5))
    (data / "lambada_test_openai.jsonl").write_text(passages)
    (data / "wikitext2_test_raw.txt").write_text("words of a text\n" * 30)
    return folder / "trial", data


def test_two_ranks_say_what_one_says(evaluation, tmp_path):
    trial, data = evaluation
    words = [f"checkpoint={trial}", f"data={data}", "device=cpu"]
    module = ["-m", "training.zero_shot", *words]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    found = []
    for name, launcher in {"one": [], "two": torchrun}.items():
        out = tmp_path / f"{name}.json"
        command = [sys.executable, *launcher, *module, f"out={out}"]
        ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        assert "GPT-2's table 3" in ended.stdout
        found.append(json.loads(out.read_text()))
    assert found[0].keys() == {"hellaswag", "lambada", "wikitext2"}
    for task, measures in found[0].items():
        assert found[1][task] == pytest.approx(measures, rel=1e-6)


@pytest.mark.parametrize("words, complaint", [
    (["data=D", "text=T"], "data: give either"),
    ([], "data: give either"),
    (["data=/no/such"], "data: /no/such: found no such folder, expected a folder"),
    (["data=D", "tasks=[mmlu]"], "tasks"),
    (["data=D", "tasks=[lambada,lambada]"], "tasks: found"),
    (["data=D", "limit=0"], "zero_shot.limit: found 0"),
    (["text=/no/such.txt"], "/no/such.txt: .*No such file"),
    (["data=D", "device=tpu"], "runtime.device"),
])  # fmt: skip
def test_each_mistake_is_one_line(evaluation, words, complaint):
    trial, data = evaluation
    words = [word.replace("data=D", f"data={data}") for word in words]
    with pytest.raises(BadInput, match=f"^{complaint}") as caught:
        zero_shot.main([f"checkpoint={trial}", *words])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line, complaint", [
    ("{", "x.jsonl:1: .* expected a line of JSON"),
    ("[1]", "x.jsonl:1: found no mapping"),
    ('{"ctx": "a", "endings": ["b"]}', "x.jsonl:1: KeyError"),
    ('{"ctx": "a", "activity_label": "c", "endings": ["b"], "label": 1}', "label: found 1"),
    ("", "found no text"),
])  # fmt: skip
def test_damaged_rows_are_named(tmp_path, line, complaint):
    path = tmp_path / "x.jsonl"
    path.write_text(line)
    with pytest.raises(BadInput, match=complaint):
        read_hellaswag(path, harness=True)
    with pytest.raises(BadInput):
        read_passages(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="expected UTF-8 text"):
        read_text(path)


def test_a_row_ends_where_json_lines_do(tmp_path):
    """str.splitlines would end it at separators that JSON leaves as they are."""
    texts = ["before\u2028after it", "one\x85 two"]
    rows = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    path = tmp_path / "lambada_test_openai.jsonl"
    path.write_bytes("\r\n".join([*rows, ""]).encode())
    assert read_passages(path) == texts


@pytest.mark.needs_reference
def test_the_real_sets_are_read_whole():
    folder = Path(os.environ["DATA_DIR"]) / "eval"
    questions = read_hellaswag(folder / "hellaswag_val.jsonl.xz", harness=True)
    assert len(questions) == 10_042
    assert questions[0].context == "Roof shingle removal: A man is sitting on a roof. he"
    assert questions[0].answers[3] == "starts pulling up roofing on a roof."
    assert len(read_passages(folder / "lambada_test_openai.jsonl.xz")) == 5_153
    assert len(read_text(folder / "wikitext2_test_raw.txt.xz").encode()) == 1_290_590
