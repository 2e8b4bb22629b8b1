"""Random numbers: counter-based, so that a seed gives one stream, eager, compiled or exported.

A `Generator` is a seed and a count of draws. Each draw takes the next stream number and fills its
tensor from Philox blocks numbered by element, so bits depend on neither threads nor shapes' order.
"""

from fanal.random.generator import (
    Generator,
    default_generator,
    fork_rng,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)
from fanal.random.sampling import (
    bernoulli,
    bernoulli_,
    cauchy_,
    exponential_,
    geometric_,
    log_normal_,
    multinomial,
    normal,
    normal_,
    poisson,
    rand,
    rand_like,
    randint,
    randint_like,
    randn,
    randn_like,
    random_,
    randperm,
    uniform_,
)
from fanal.tensor.methods import attach

attach({
    "bernoulli": bernoulli, "bernoulli_": bernoulli_, "cauchy_": cauchy_,
    "exponential_": exponential_, "geometric_": geometric_, "log_normal_": log_normal_,
    "multinomial": multinomial, "normal_": normal_, "random_": random_, "uniform_": uniform_,
})  # fmt: skip

__all__ = [
    "Generator", "bernoulli", "bernoulli_", "cauchy_", "default_generator", "exponential_",
    "fork_rng", "geometric_", "get_rng_state", "initial_seed", "log_normal_", "manual_seed",
    "multinomial", "normal", "normal_", "poisson", "rand", "rand_like", "randint", "randint_like",
    "randn", "randn_like", "random_", "randperm", "seed", "set_rng_state", "uniform_",
]  # fmt: skip
