"""Let a trained model write.

python -m training.sample checkpoint=runs/gpt2 prompt="Once upon a time"
python -m training.sample checkpoint=runs/gpt2 tokens=100 samples=3        from a new document
python -m training.sample checkpoint=gpt2 temperature=0                    OpenAI's weights
next: docs/reproduce-124m.md
"""

import common.start  # noqa: F401

# isort: split
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from common.errors import BadInput, ExitStatus, require, require_positive
from configs.cli import exit_status
from configs.help import asks_for_help, help_of_words
from configs.key_value import read_key_values
from data.tokenizer import Unencodable, load_decoder, load_encoder, vocabulary
from model.network import Network
from model.pretrained import Pretrained, read_pretrained
from training.ranks.distributed import choose_device


@dataclass(frozen=True)
class Words:
    """What to write, and with what.

    checkpoint   a trial's folder, one checkpoint, a folder of Hugging Face form, or a name on the
                 hub
    prompt       how the text begins; none: a new document
    tokens       at most so many after the prompt
    samples      how many texts
    temperature  0 always takes the likeliest token
    top_k        choose among the k likeliest; null: among all
    seed         of the choices
    device       auto, cpu, cuda or mps (untested)
    tokenizer    for a model over tokenizer bpe: folder with its tokenizer.json, which lies beside
                 its shards (runtime.data_dir) and in an export of it, which needs none named
    """

    checkpoint: str
    prompt: str = ""
    tokens: int = 200
    samples: int = 1
    temperature: float = 0.8
    top_k: int | None = 200
    seed: int = 0
    device: str = "auto"
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        require_positive("sample", self, "tokens", "samples")
        require(self.temperature >= 0, "sample.temperature", self.temperature, "0 or more")
        if self.top_k is not None:
            require_positive("sample", self, "top_k")


@torch.no_grad()
def continue_text(
    network: Network, begin: Sequence[int], words: Words, generator: torch.Generator, end: int
) -> list[int]:
    """Ids that follow `begin`, `words.tokens` of them or as many as come before `end`."""
    ids = list(begin)
    device = next(network.parameters()).device
    for _ in range(words.tokens):
        seen = torch.tensor([ids[-network.config.block_size :]], device=device)
        logits_V = network(seen)[0, -1].float().cpu()
        if not logits_V[: network.config.vocab_size].isfinite().all():
            text = "found likelihoods that are no numbers, expected sound weights"
            raise BadInput(f"checkpoint: {words.checkpoint}: {text}")
        token = choose(logits_V, words, generator)
        if token == end:
            break
        ids.append(token)
    return ids[len(begin) :]


def choose(logits_V: Tensor, words: Words, generator: torch.Generator) -> int:
    """One id by its probability at the temperature, among the `top_k` likeliest."""
    if words.temperature == 0:
        return int(logits_V.argmax())
    if words.top_k is not None and words.top_k < len(logits_V):
        least = logits_V.topk(words.top_k).values[-1]
        logits_V = logits_V.masked_fill(logits_V < least, -torch.inf)
    probabilities_V = (logits_V / words.temperature).softmax(-1)
    return int(torch.multinomial(probabilities_V, 1, generator=generator))


def write_samples(words: Words, found: Pretrained) -> list[str]:
    """The samples, each with its prompt; the same for the same seed on the same machine."""
    file = found.own.file
    end = vocabulary(found.tokenizer, found.config.vocab_size).end_of_text
    network = found.network().to(choose_device(words.device))
    encode = load_encoder(found.tokenizer, file, found.config.vocab_size)
    try:
        prompt = encode(words.prompt).tolist()
    except Unencodable as error:
        raise BadInput(f"prompt: found {error}, expected text; leave it out") from error
    decode = load_decoder(found.tokenizer, file)
    generator = torch.Generator().manual_seed(words.seed)
    texts = []
    for _ in range(words.samples):
        following = continue_text(network, [end, *prompt], words, generator, end)
        texts.append(words.prompt + decode(following))
    return texts


def main(argv: list[str]) -> int:
    """Print what `argv` asks for."""
    if asks_for_help(argv):
        print(help_of_words(__doc__ or "", Words))
        return ExitStatus.DONE
    words = read_key_values(argv, Words)
    found = read_pretrained(words.checkpoint, words.tokenizer)
    if found.note:
        print(found.note, file=sys.stderr)
    texts = write_samples(words, found)
    print("\n----\n".join(texts))
    return ExitStatus.DONE


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
