"""Let a trained model write.

python -m training.sample checkpoint=runs/gpt2 prompt="Once upon a time" tokens=100 samples=3

checkpoint   a trial's folder, one checkpoint, a folder of Hugging Face form, or a name on the hub
prompt       how the text begins; none: a new document
temperature  0 always takes the likeliest token
top_k        choose among the k likeliest; null: among all
tokenizer    for a model over tokenizer bpe: folder with its tokenizer.json, which lies beside its
             shards (runtime.data_dir) and in an export of it, which needs none named
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from configs.errors import BadInput, ExitStatus, require_positive
from configs.load import exit_status
from configs.words import read_words
from data.tokenizer import load_decoder, load_encoder, vocabulary
from model.gpt import GPT
from model.pretrained import Pretrained, read_pretrained
from training.distributed import choose_device


@dataclass(frozen=True)
class Words:
    """What the command line says (see the module)."""

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
        if self.temperature < 0:
            raise BadInput(f"sample.temperature: found {self.temperature}, expected 0 or more")
        if self.top_k is not None:
            require_positive("sample", self, "top_k")


@torch.no_grad()
def continue_text(
    network: GPT, begin: Sequence[int], words: Words, generator: torch.Generator, end: int
) -> list[int]:
    """Ids that follow `begin`, `words.tokens` of them or as many as come before `end`."""
    ids = list(begin)
    device = next(network.parameters()).device
    for _ in range(words.tokens):
        seen = torch.tensor([ids[-network.config.block_size :]], device=device)
        token = choose(network(seen)[0, -1].float().cpu(), words, generator)
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
    folder = Path(words.tokenizer) if words.tokenizer else found.tokenizer_folder
    end = vocabulary(found.tokenizer, found.config.vocab_size).end_of_text
    network = found.network().to(choose_device(words.device))
    encode = load_encoder(found.tokenizer, folder, found.config.vocab_size)
    prompt = encode(words.prompt).tolist()
    decode = load_decoder(found.tokenizer, folder)
    generator = torch.Generator().manual_seed(words.seed)
    texts = []
    for _ in range(words.samples):
        following = continue_text(network, [end, *prompt], words, generator, end)
        texts.append(words.prompt + decode(following))
    return texts


def main(argv: list[str]) -> int:
    """Print what `argv` asks for."""
    if not argv or argv[0] in ("-h", "--help"):
        print(__doc__)
        return ExitStatus.DONE if argv else ExitStatus.BAD_INPUT
    words = read_words(argv, Words)
    texts = write_samples(words, read_pretrained(words.checkpoint))
    print("\n----\n".join(texts))
    return ExitStatus.DONE


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
