"""The calculator in a real browser counts as model/flops.py and device/memory.py, to the unit."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from model import flops
from model.config import GPTConfig
from scaling.report.html import static
from tests.support.browser import Browser
from tests.support.report_example import page_of, study
from training.device.memory import activation_bytes, weight_bytes

pytestmark = pytest.mark.needs_browser

GPT2 = [(12, 12, 768), (24, 16, 1024), (36, 20, 1280), (48, 25, 1600)]
CHOSEN = {"block_size": 2048, "vocab_size": 32000, "init_std": 0.02, "family": "llama"}
SHAPES = [
    *(GPTConfig(*shape, block_size=1024, vocab_size=50257, init_std=0.02) for shape in GPT2),
    GPTConfig(2, 1, 16, block_size=64, vocab_size=256, init_std=0.1),
    GPTConfig(32, 32, 4096, **CHOSEN, n_kv_head=8, n_inner=14336, tied_head=False),
    GPTConfig(3, 4, 200, **CHOSEN),
    GPTConfig(2, 0, 128, block_size=64, vocab_size=257, init_std=0.1, family="lstm"),
]
NAMES = [name for name in dir(flops) if name.startswith(("params_", "flops_per_token_"))]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as found:
        found.evaluate(static("counts.js"))
        yield found


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s.family}-{s.n_layer}x{s.n_embd}")
def test_counts_are_those_of_python(browser: Browser, shape: GPTConfig) -> None:
    written = json.dumps(asdict(shape))
    counts = browser.evaluate(f"countsOf({written})")
    assert counts == {name: getattr(flops, name)(shape) for name in NAMES}
    parts = browser.evaluate(f"partsOf({written})")
    assert sum(params for _, params, _ in parts) == flops.params_total(shape)
    assert sum(cost for _, _, cost in parts) == flops.flops_per_token_exact(shape)
    tokens = 8 * shape.block_size
    memory = browser.evaluate(f"memoryOf({written}, {tokens})")
    state = 16 * flops.params_allocated(shape)
    held = state + weight_bytes(shape) + tokens * activation_bytes(shape)
    assert sum(size for _, size in memory) == held
    assert browser.evaluate(f"checkpointBytes({written})") == 12 * flops.params_allocated(shape)


def test_a_shape_is_one_click(browser: Browser, tmp_path: Path) -> None:
    page = page_of(study(), tmp_path)
    browser.call("Page.navigate", url=f"{page.as_uri()}#calculator")
    browser.wait("document.readyState === 'complete' && location.protocol === 'file:'")
    assert browser.evaluate("byId('calculator').open")
    told = "byId('calculate-status').textContent"
    for index, shape in enumerate(SHAPES[:4]):
        button = f"document.querySelectorAll('#calculate-shapes button')[{index}].click()"
        browser.evaluate(button)
        assert browser.evaluate(told).startswith(f"{flops.params_total(shape):,} parameters")
    browser.evaluate("""
        byId('calculate-n_head').value = '7';
        byId('calculate-inputs').dispatchEvent(new Event('input'));
    """)
    assert "do not divide" in browser.evaluate(told)
