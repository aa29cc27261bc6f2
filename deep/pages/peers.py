"""Numbers of others that stand beside ours: of the same metric, with the page that they were read on.

Two metrics must not be mixed up: the return of training counts exploratory actions, that of greedy evaluation does not.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """A published mean and standard deviation.

    metric: the variable of our results that it may be held against. differs: what is not as here.
    """

    agent: str
    environment: str
    metric: str
    who: str
    mean: float
    deviation: float
    seeds: int
    steps: int
    source: str
    differs: str = ""


_CLEANRL = "https://docs.cleanrl.dev/rl-algorithms"
_ZOO = "https://github.com/DLR-RM/rl-baselines3-zoo/blob/master/benchmark.md"
_ONE_RUN = "one run with tuned settings; the deviation is that of its episodes"


def _cleanrl(agent: str, page: str, script: str, found: dict[str, tuple[float, float]]) -> list[Peer]:
    return [
        Peer(agent, task, "training_return", f"CleanRL {script}", *value, 3, 500_000, f"{_CLEANRL}/{page}/")
        for task, value in found.items()
    ]


def _zoo(agent: str, name: str, found: dict[str, tuple[float, float, int]]) -> list[Peer]:
    return [
        Peer(agent, task, "evaluation_return", f"RL Zoo {name}", mean, deviation, 1, steps, _ZOO, _ONE_RUN)
        for task, (mean, deviation, steps) in found.items()
    ]


PEERS = (
    *_cleanrl("dqn", "dqn", "dqn_jax.py", {"CartPole-v1": (498.38, 2.29), "Acrobot-v1": (-88.89, 1.56)}),
    *_cleanrl("dqn", "dqn", "dqn.py", {"CartPole-v1": (488.69, 16.11), "Acrobot-v1": (-91.54, 7.20)}),
    *_zoo("dqn", "dqn", {"CartPole-v1": (500.0, 0.0, 50_000), "Acrobot-v1": (-76.639, 11.752, 100_000)}),
    *_cleanrl("c51", "c51", "c51_jax.py", {"CartPole-v1": (491.07, 9.70), "Acrobot-v1": (-86.74, 2.19)}),
    *_cleanrl("c51", "c51", "c51.py", {"CartPole-v1": (481.20, 20.53), "Acrobot-v1": (-87.70, 5.52)}),
    *_zoo("qr_dqn", "qrdqn", {"CartPole-v1": (500.0, 0.0, 50_000), "Acrobot-v1": (-69.135, 9.967, 100_000)}),
    *_cleanrl("pqn", "pqn", "pqn.py", {"CartPole-v1": (495.13, 6.89), "Acrobot-v1": (-95.63, 5.73)}),
    # Which of the two is the newer one could not be told.
    *_cleanrl("pqn", "pqn", "pqn.py, another version of its page", {"CartPole-v1": (408.14, 128.42)}),
)


def peers(agent: str, environment: str) -> tuple[Peer, ...]:
    """What others report of an agent on an environment."""
    return tuple(peer for peer in PEERS if (peer.agent, peer.environment) == (agent, environment))
