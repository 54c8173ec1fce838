"""What a probe is: a sentence, and the steps that show whether it holds."""
from dataclasses import dataclass, field
from typing import Callable


@dataclass(frozen=True)
class Probe:
    name: str
    # What both servers do.
    sentence: str
    play: Callable
    # How long it takes, roughly: the slow ones begin first.
    seconds: float = 1.0
    # Measured numbers may differ by this factor, or by this much.
    tolerance: tuple = (1.0, 0.0)
    # Arguments of Peer.
    peer: dict = field(default_factory=dict)


def collect(probes):
    """A decorator that makes a probe of a function: its name, its documentation and its steps."""

    def make(function=None, /, **more):
        if function is None:
            return lambda function: make(function, **more)
        sentence = " ".join(function.__doc__.split()).rstrip(".")
        probes.append(Probe(function.__name__, sentence, function, **more))
        return function

    return make
