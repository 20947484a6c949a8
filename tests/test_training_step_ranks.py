"""A step on several ranks: where its gradients lie in memory, with the weights of one rank."""

from pathlib import Path

from model.network import weights_digest
from tests.support.tiny_training import prepared_config, together
from training.config import TrainConfig
from training.dataset import open_data
from training.environment import decide
from training.ranks.distributed import Ranks
from training.state import TrainState, build_state
from training.step import accumulate_gradients, begin_step, no_sync


def built(config: TrainConfig, ranks: Ranks) -> TrainState:
    return build_state(config, ranks, decide(config, ranks, None), open_data(config, ranks))


def test_gradients_of_ranks_stay_in_the_buckets_that_are_exchanged(tmp_path: Path) -> None:
    """Gradients of a part without exchange are held once: by the buckets that DDP exchanges."""
    config = prepared_config(tmp_path, runtime__micro_batch=2)

    def places(state: TrainState) -> list[int]:
        assert all(p.grad is not None for p in state.parameters)
        return [p.grad.data_ptr() for p in state.parameters if p.grad is not None]

    def body(ranks: Ranks) -> object:
        state = built(config, ranks)
        for _ in range(2):  # after the first step DDP orders its buckets anew
            begin_step(state).result()
        found = [places(state)]
        tokens_BT, targets_BT = state.batch(state.step)
        with no_sync(state.network):
            state.network(tokens_BT[:2], targets_BT[:2]).backward()
        found.append(places(state))
        accumulate_gradients(state.network, tokens_BT, targets_BT, 2, state.autocast)
        found.append(places(state))
        storages = {
            p.grad.untyped_storage().data_ptr() for p in state.parameters if p.grad is not None
        }
        return [found == found[:1] * 3, len(storages) < len(state.parameters)]

    assert together(config, tmp_path, body) == [[True, True]] * 2


def test_weights_of_ranks_are_those_of_gradients_that_begin_as_nothing(tmp_path: Path) -> None:
    """Gradients that begin at zero give the bits of gradients that begin as nothing."""
    config = prepared_config(tmp_path, runtime__micro_batch=2)

    def body(ranks: Ranks) -> object:
        digests = []
        for gives_up in (False, True):
            state = built(config, ranks)
            for _ in range(4):
                begin_step(state).result()
                if gives_up:
                    state.optimizer.zero_grad(set_to_none=True)
            digests.append(weights_digest(state.model))
        return digests

    [[kept, given_up], other] = together(config, tmp_path, body)
    assert kept == given_up and other == [kept, given_up]
