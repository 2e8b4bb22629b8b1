"""Requests through the engine: the same bits in any batch, deadlines, refusals, turns. Batches run in a thread here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fanal
from fanal.export import Dim, load
from fanal.serve.engine import Engine
from fanal.serve.errors import ServeError, Status
from fanal.serve.flow.turns import Turn, Turns
from fanal.serve.version import Flow, State, Version
from fanal.serve.workers.model import Limits
from tests.serve import models

MS = 1e-3


def serving(path: Path, use: Callable[[Engine, Version], Awaitable[Any]], flow: Flow | None = None, limits: Limits | None = None) -> Any:
    """Load a file into an engine, use it, close it."""

    async def main() -> Any:
        engine = Engine()
        version = await engine.load_inline(path, "m", 1, limits, flow)
        try:
            return await use(engine, version)
        finally:
            await engine.close()
            assert version.statistics.pending == 0 and version.state is State.ENDED
            s = version.statistics
            assert s.received == s.success + sum(s.failures.values())

    return asyncio.run(main())


def asked(engine: Engine, version: Version, x: np.ndarray, **options: Any) -> Any:
    return version.submit(version.description.function(None), {"x": x}, **options)


async def running(engine: Engine, version: Version) -> Any:
    """A request that is being computed."""
    ticket = asked(engine, version, models.rows(1, 3))
    while not ticket.running:
        await asyncio.sleep(0)
    return ticket


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.network(tmp_path_factory.mktemp("network") / "net.fanal")


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.slow(tmp_path_factory.mktemp("slow") / "slow.fanal", 30_000)


def test_the_bits_are_those_of_the_program_alone_and_in_any_batch(network: Path) -> None:
    x = models.rows(70, 1, 8, 8)
    program = load(network)
    wanted = [program(fanal.from_numpy(x[i : i + 1])).numpy() for i in range(70)]

    async def use(engine: Engine, version: Version) -> set[int]:
        sizes = {(await asked(engine, version, x[:1])).rows}
        for step in (1, 2, 3, 7, 31, 70):  # rows that come in one request; 70 are more than a batch
            tickets = [asked(engine, version, x[i : i + step]) for i in range(0, 70, step)]
            for i, ticket in zip(range(0, 70, step), tickets, strict=True):
                answer = await ticket
                assert answer.outputs["y"].tobytes() == b"".join(w.tobytes() for w in wanted[i : i + step])
                sizes.add(answer.rows)
        return sizes

    assert {1, 32} <= serving(network, use)


def test_a_threshold_over_all_rows_is_found_out(tmp_path: Path) -> None:
    def clipped(x: fanal.Tensor) -> fanal.Tensor:
        return fanal.where((x > 100).any(), x.clamp(-1, 1), x)

    path = models.write(tmp_path / "clipped.fanal", clipped, fanal.zeros(2, 3), dims={"x": {0: fanal.export.Dim("n", max=64)}})

    async def use(engine: Engine, version: Version) -> None:
        function = version.description.function(None)
        assert not function.batched and "inf" in function.note

    serving(path, use)


def test_rows_that_depend_on_one_another_never_share_a_batch(tmp_path: Path) -> None:
    path = models.mixing(tmp_path / "mixing.fanal")

    async def use(engine: Engine, version: Version) -> None:
        function = version.description.function(None)
        assert not function.batched and "depend" in function.note
        x = models.rows(8, 3)
        for a, b in zip(x.reshape(4, 2, 3), [asked(engine, version, x[i : i + 2]) for i in (0, 2, 4, 6)], strict=True):
            np.testing.assert_allclose((await b).outputs["y"], a - a.mean(0), atol=1e-6)

    serving(path, use)


def test_requests_of_different_shapes_are_answered_each_in_its_own(tmp_path: Path) -> None:
    path = models.growing(tmp_path / "growing.fanal")

    async def use(engine: Engine, version: Version) -> None:
        given = [models.rows(1 + i % 3, 2 + i % 4, seed=i) for i in range(30)]
        tickets = [asked(engine, version, x) for x in given]
        for x, ticket in zip(given, tickets, strict=True):
            np.testing.assert_allclose((await ticket).outputs["y"], x.cumsum(1), rtol=1e-5, atol=1e-6)

    serving(path, use)


def test_an_expired_request_is_not_computed(slow: Path) -> None:
    async def use(engine: Engine, version: Version) -> None:
        now = asyncio.get_running_loop().time
        first = await running(engine, version)
        late = asked(engine, version, models.rows(1, 3), deadline=now() + 2 * MS)
        with pytest.raises(ServeError, match="before it was computed") as caught:
            await late
        assert caught.value.status is Status.DEADLINE and not first.future.done()
        await first
        with pytest.raises(ServeError, match="had passed"):
            asked(engine, version, models.rows(1, 3), deadline=now() - 1)
        assert version.statistics.inferences == 1 and version.statistics.missed == 2

    serving(slow, use)


def test_a_request_that_is_given_up_leaves_the_queue(slow: Path) -> None:
    async def use(engine: Engine, version: Version) -> None:
        first = await running(engine, version)
        waiting = [asked(engine, version, models.rows(1, 3)) for _ in range(5)]
        assert version.waiting == 5
        for t in waiting[1:]:
            t.cancel()
        first.cancel()
        assert version.waiting == 1
        await waiting[0]
        assert version.statistics.cancelled == 5
        # What ran when its sender left was computed; the others were not.
        assert version.statistics.inferences == 2

    serving(slow, use)


def test_a_full_queue_refuses_at_once(slow: Path) -> None:
    async def use(engine: Engine, version: Version) -> None:
        tickets = [await running(engine, version), *[asked(engine, version, models.rows(1, 3)) for _ in range(4)]]
        with pytest.raises(ServeError, match="more requests than it can answer") as caught:
            asked(engine, version, models.rows(1, 3))
        assert caught.value.status is Status.EXHAUSTED and caught.value.retry_after > 0
        for t in tickets:
            await t
        await asked(engine, version, models.rows(1, 3))
        assert version.statistics.shed == 1

    serving(slow, use, Flow(queue_size=4))


def test_a_long_wait_is_refused(slow: Path) -> None:
    async def use(engine: Engine, version: Version) -> None:
        await asked(engine, version, models.rows(1, 3))  # now it is known how long one takes
        tickets, refused = [], 0
        for _ in range(50):
            try:
                tickets.append(asked(engine, version, models.rows(1, 3)))
            except ServeError:
                refused += 1
        assert refused > 30 and len(tickets) >= 1
        for t in tickets:
            await t

    serving(slow, use, Flow(queue_seconds=0.02), Limits(1))


def test_urgent_requests_go_first(slow: Path) -> None:
    async def use(engine: Engine, version: Version) -> None:
        order: list[int] = []
        tickets = []
        await running(engine, version)
        for i, priority in enumerate((0, 5, 5, 1)):
            ticket = asked(engine, version, models.rows(1, 3), priority=priority)
            ticket.future.add_done_callback(lambda _, i=i: order.append(i))
            tickets.append(ticket)
        for t in tickets:
            await t
        assert order == [3, 1, 2, 0]

    serving(slow, use, limits=Limits(1))


def test_a_batch_waits_for_more_rows_where_that_is_wanted(network: Path) -> None:
    async def use(engine: Engine, version: Version) -> None:
        tickets = [asked(engine, version, models.rows(1, 1, 8, 8))]
        await asyncio.sleep(20 * MS)
        tickets.append(asked(engine, version, models.rows(1, 1, 8, 8)))
        assert {(await t).rows for t in tickets} == {2}
        # A full batch does not wait.
        start = asyncio.get_running_loop().time()
        for t in [asked(engine, version, models.rows(8, 1, 8, 8)) for _ in range(4)]:
            assert (await t).rows == 32
        assert asyncio.get_running_loop().time() - start < 0.2

    serving(network, use, Flow(batch_delay=0.3))


def test_what_does_not_fit_is_refused_by_name(network: Path) -> None:
    async def use(engine: Engine, version: Version) -> None:
        function = version.description.function(None)
        x = models.rows(2, 1, 8, 8)
        for inputs, text in (
            ({"x": x.astype("f8")}, r"inputs\.x\.datatype is another: got FP64; expected FP32"),
            ({"x": x[..., :7]}, r"inputs\.x\.shape does not fit: got \[2, 1, 8, 7\]; expected \[batch, 1, 8, 8\]"),
            ({"x": x[0]}, r"inputs\.x\.shape does not fit"),
            ({"x": x[:0]}, "'batch' is out of its range: got 0 in dimension 0 of 'x'; expected 1 to 256"),
            ({"x": models.rows(257, 1, 8, 8)}, "'batch' is out of its range"),
            ({}, "'x' is missing"),
            ({"z": x}, "no input 'z'.*Try: x"),
            ({"x": x, "z": x}, "no input 'z'"),
        ):
            with pytest.raises(ServeError, match=text) as caught:
                version.submit(function, inputs)
            assert caught.value.status is Status.INVALID
        for find in (("other",), ("m", 2), ("m", None, "stable")):
            with pytest.raises(ServeError) as caught:
                engine.find(*find)
            assert caught.value.status is Status.NOT_FOUND
        assert version.statistics.failures == {"invalid": 8}

    serving(network, use)


def test_errors_of_a_program_go_to_those_who_caused_them(tmp_path: Path) -> None:
    table = fanal.arange(3)

    def look(x: fanal.Tensor) -> fanal.Tensor:
        return table[x]

    path = models.write(tmp_path / "look.fanal", look, fanal.zeros(2, dtype=fanal.int64), dims={"x": {0: fanal.export.Dim("n", max=64)}})

    async def use(engine: Engine, version: Version) -> None:
        with pytest.raises(ServeError, match="index out of range") as caught:
            await asked(engine, version, np.array([7]))
        assert caught.value.status is Status.INVALID
        assert caught.value.text.startswith("[infer] the model refuses its inputs: index out of range: got 7") and ".py" not in caught.value.text
        assert (await asked(engine, version, np.array([2, 0]))).outputs["y"].tolist() == [2, 0]

    serving(path, use)


def test_who_shares_a_batch_with_a_wrong_request_is_answered(tmp_path: Path) -> None:
    table = fanal.arange(3)

    def look(x: fanal.Tensor, by: fanal.Tensor) -> fanal.Tensor:
        return table[x] // (by - 4)

    one = fanal.ones(2, dtype=fanal.int64)
    n = fanal.export.Dim("n", max=64)
    path = models.write(tmp_path / "look.fanal", look, one, one.clone(), dims={"x": {0: n}, "by": {0: n}})
    wrong = {3: (7, 5), 4: (-9, 5), 17: (1, 4), 30: (3, 5)}  # no such place, or a divisor of 0

    async def use(engine: Engine, version: Version) -> None:
        function = version.description.function(None)
        tickets = [version.submit(function, {"x": np.array([x]), "by": np.array([by])}) for x, by in (wrong.get(i, (i % 3, 5)) for i in range(32))]
        gone = tickets[20]
        while not gone.running:
            await asyncio.sleep(0)
        gone.cancel()  # while all 32 are computed
        for i, ticket in enumerate(tickets):
            if i in wrong:
                with pytest.raises(ServeError, match="index out of range" if i != 17 else "division by zero") as caught:
                    await ticket
                assert caught.value.status is Status.INVALID
            elif ticket is not gone:
                assert (await ticket).outputs["y"].tolist() == [i % 3]
        s = version.statistics
        assert s.failures == {"invalid": 4, "cancelled": 1} and s.success == 27 and s.queued.count == s.queue.count == 32

    serving(path, use)


def test_no_rows_are_answered_with_none(tmp_path: Path) -> None:
    def twice(x: fanal.Tensor) -> fanal.Tensor:
        return (x * 2).sum(1)

    path = models.write(tmp_path / "twice.fanal", twice, fanal.zeros(2, 3), dims={"x": {0: fanal.export.Dim("n", min=0, max=64)}})

    async def use(engine: Engine, version: Version) -> None:
        none = asked(engine, version, np.zeros((0, 3), np.float32))
        assert (await none).outputs["y"].shape == (0,)
        mixed = [asked(engine, version, np.full((n, 3), n, np.float32)) for n in (0, 2, 0, 1)]  # in one batch
        assert [(await t).outputs["y"].tolist() for t in mixed] == [[], [12.0, 12.0], [], [6.0]]

    serving(path, use)


def test_a_program_that_refuses_zeros_is_served(tmp_path: Path) -> None:
    def divided(x: fanal.Tensor) -> fanal.Tensor:
        return 100 // x

    path = models.write(tmp_path / "m.fanal", divided, fanal.ones(2, 3, dtype=fanal.int64), dims={"x": {0: Dim("n", max=8)}})

    async def use(engine: Engine, version: Version) -> None:
        assert version.description.function(None).batched
        answer = await asked(engine, version, np.full((1, 3), 7))
        assert (answer.outputs["y"] == 14).all()

    serving(path, use)


def test_unloading_answers_what_has_come(slow: Path) -> None:
    async def use(engine: Engine, version: Version) -> None:
        tickets = [asked(engine, version, models.rows(1, 3)) for _ in range(3)]
        await version.unload()
        assert all(t.future.done() and t.future.exception() is None for t in tickets)
        with pytest.raises(ServeError) as caught:
            asked(engine, version, models.rows(1, 3))
        assert caught.value.status is Status.UNAVAILABLE

    serving(slow, use)


def test_models_share_the_machine_by_time() -> None:
    """One model's batches take three times as long as the other's: it gets a third of the turns."""
    turns, counts = Turns(1), {"a": 0, "b": 0}
    running: list[str] = []
    order: dict[str, Turn] = {}

    def go(name: str) -> Callable[[], bool]:
        def start() -> bool:
            counts[name] += 1
            running.append(name)
            return True

        return start

    for name in counts:
        order[name] = Turn(go(name))
        turns.ask(order[name])
    for _ in range(400):
        name = running.pop()
        turns.ask(order[name])  # it always has more
        turns.done(order[name], 3.0 if name == "a" else 1.0)
    assert counts["b"] / counts["a"] == pytest.approx(3, rel=0.05)


def test_a_task_that_awaits_a_ticket_may_be_cancelled(slow: Path) -> None:
    async def use(engine: Engine, version: Version) -> None:
        first = asked(engine, version, models.rows(1, 3))
        second = asked(engine, version, models.rows(1, 3))

        async def wait() -> None:
            try:
                await second
            except asyncio.CancelledError:
                second.cancel()
                second.cancel()  # once is enough
                raise

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert version.waiting == 0 and version.statistics.cancelled == 1 and version.statistics.pending == 1
        await first

    serving(slow, use, limits=Limits(1))
