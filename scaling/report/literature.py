"""What the explorer sets a study beside: published laws of allocation, and models of the field."""

from dataclasses import dataclass

import numpy as np

from scaling.fit.laws import PUBLISHED, KaplanLaw, PowerLaw, Surface
from scaling.fit.other_laws.published import LLAMA3_TOKENS


@dataclass(frozen=True)
class PublishedLaw:
    """A law of N* and D* with its loss, if it states one; `note` is what to know of its numbers.

    `range` is the FLOP of the runs behind it, None where the paper does not say.
    """

    key: str
    name: str
    note: str
    n: PowerLaw
    d: PowerLaw
    loss: Surface | KaplanLaw | None
    range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Model:
    """A model of the literature: parameters, training tokens, and where they are stated.

    `noted` is False where its name would stand on another's.
    """

    name: str
    params: float
    tokens: float
    source: str
    noted: bool = True


# FLOP of the runs: 6 N D of the least and greatest N and D of Kaplan's study; IsoFLOP budgets.
_KAPLAN_RUNS, _HOFFMANN_RUNS, _LLAMA3_RUNS = (1e11, 2e20), (6e18, 3e21), (6e18, 1e22)


def published_laws() -> tuple[PublishedLaw, ...]:
    """The laws in order of their age."""
    kaplan = PUBLISHED["kaplan"]
    assert isinstance(kaplan, KaplanLaw) and kaplan.n_efficient and kaplan.d_efficient
    size = PowerLaw(-np.log(6) - LLAMA3_TOKENS.log_scale, 1 - LLAMA3_TOKENS.slope)
    return (
        PublishedLaw(
            "kaplan",
            "Kaplan et al. 2020",
            "N without embeddings, no irreducible loss; C at a batch far below the critical one",
            kaplan.n_efficient,
            kaplan.d_efficient,
            kaplan,
            _KAPLAN_RUNS,
        ),
        _of_surface(
            "hoffmann",
            "Hoffmann et al. 2022",
            "approach 3, digits of the paper's source",
            _HOFFMANN_RUNS,
        ),
        _of_surface("muennighoff_c4", "Muennighoff et al. 2023", "C4, α = β"),
        _of_surface(
            "besiroglu", "Besiroglu et al. 2024", "Hoffmann's runs, fitted again", _HOFFMANN_RUNS
        ),
        PublishedLaw(
            "llama3",
            "Grattafiori et al. 2024 (Llama 3)",
            "D* = 0.29 C^0.53 as printed, N* = C/(6 D*); no loss",
            size,
            LLAMA3_TOKENS,
            None,
            _LLAMA3_RUNS,
        ),
    )


def _of_surface(
    key: str, name: str, note: str, runs: tuple[float, float] | None = None
) -> PublishedLaw:
    surface = PUBLISHED[key]
    assert isinstance(surface, Surface)
    return PublishedLaw(key, name, note, surface.n_opt, surface.d_opt, surface, runs)


_HOFFMANN, _LLAMA, _LLAMA3 = (
    "Hoffmann et al. 2022, table 1",
    "Touvron et al. 2023, table 2",
    "Grattafiori et al. 2024",
)
MODELS = (
    Model("LaMDA", 137e9, 168e9, _HOFFMANN, noted=False),
    Model("GPT-3", 175e9, 300e9, _HOFFMANN, noted=False),
    Model("Jurassic-1", 178e9, 300e9, _HOFFMANN, noted=False),
    Model("Gopher", 280e9, 300e9, _HOFFMANN, noted=False),
    Model("MT-NLG", 530e9, 270e9, _HOFFMANN),
    Model("Chinchilla", 70e9, 1.4e12, _HOFFMANN),
    Model("LLaMA 7B", 6.7e9, 1e12, _LLAMA),
    Model("LLaMA 65B", 65.2e9, 1.4e12, _LLAMA, noted=False),
    Model("Llama 3 8B", 8e9, 15e12, _LLAMA3),
    Model("Llama 3 70B", 70e9, 15e12, _LLAMA3, noted=False),
    Model("Llama 3 405B", 405e9, 15.6e12, _LLAMA3),
)
