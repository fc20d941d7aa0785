"""An actor that the test plays."""

from dataclasses import dataclass

import pytest
import trio

from actors import Actor, ActorCrashed, Kind, Message, Rejected
from actors.testing import Leaked, NothingCame, Probe, Unexpected, open_checked_system


@dataclass(frozen=True)
class Buy(Message[str]):
    what: str


@dataclass(frozen=True)
class SendMail(Message[str]):
    text: str


class Shop(Actor):
    async def receive(self, message):
        return await self.context.refer("mailer", "m").ask(SendMail(f"bought {message.what}"))


SHOP = Kind("shop", lambda key: Shop())


@pytest.fixture
def probe():
    return Probe("mailer")


async def test_it_is_told_what_to_answer(probe, autojump_clock):
    async with open_checked_system(SHOP, probe.kind) as system, trio.open_nursery() as nursery:
        answers = []

        async def buy(what):
            answers.append(await system.ref("shop", "s").ask(Buy(what)))

        nursery.start_soon(buy, "tea")
        assert (await probe.expect(SendMail)).text == "bought tea"
        assert probe.key == "m"
        probe.reply("sent")
        probe.reply("again")
        await probe.expect_none()
    assert answers == ["sent"]


async def test_it_refuses_and_it_crashes(probe, autojump_clock):
    async with (
        open_checked_system(
            SHOP, probe.kind, expected_crashes=(ValueError, ActorCrashed)
        ) as system,
        trio.open_nursery() as nursery,
    ):

        async def buy(error):
            with pytest.raises(error):
                await system.ref("shop", "s").ask(Buy("tea"))

        for failure, error in ((Rejected("no"), Rejected), (ValueError("broken"), ActorCrashed)):
            nursery.start_soon(buy, error)
            await probe.expect(SendMail)
            probe.fail(failure)
            probe.fail(failure)


async def test_what_does_not_come_is_a_failure_of_the_test(probe, autojump_clock):
    async with open_checked_system(probe.kind) as system:
        with pytest.raises(NothingCame, match="expected a SendMail, and nothing came in 3 s"):
            await probe.expect(SendMail, seconds=3)
        assert trio.current_time() == pytest.approx(3)
        for _ in range(2):
            system.ref("mailer", "m").tell(Buy("tea"))
        with pytest.raises(Unexpected, match="expected a SendMail, got Buy"):
            await probe.expect(SendMail)
        with pytest.raises(Unexpected, match="expected nothing, got Buy"):
            await probe.expect_none()


async def test_one_message_at_a_time_waits_until_the_next_is_expected(probe, autojump_clock):
    async with open_checked_system(probe.kind) as system, trio.open_nursery() as nursery:
        answered = []

        async def ask(what):
            answered.append((what, await system.ref("mailer", "m").ask(SendMail(what))))

        for what in ("one", "two"):
            nursery.start_soon(ask, what)
        first = (await probe.expect(SendMail)).text
        await trio.sleep(100)
        assert answered == []
        second = (await probe.expect(SendMail)).text
        await trio.sleep(1)
        assert answered == [(first, None)]
        probe.reply("ok")
    assert answered == [(first, None), (second, "ok")]


async def test_what_was_never_expected_does_not_hold_up_the_end(probe, autojump_clock):
    async with open_checked_system(probe.kind) as system:
        for what in ("one", "two", "three"):
            system.ref("mailer", "m").tell(SendMail(what))
        await trio.sleep(1)
    assert trio.current_time() == pytest.approx(1)


async def test_a_checked_system_looks_at_the_end_of_its_block_alone(probe, autojump_clock):
    with pytest.raises(Leaked) as leak:
        async with open_checked_system(SHOP, Kind("mailer", lambda key: Hung())) as system:
            system.ref("shop", "s").tell(Buy("tea"))
            await trio.sleep(1)
    told = sorted(leak.value.leaks)
    assert len(told) == 2
    assert "mailer/m is running, handles SendMail since 6.0 s" in told[0]
    assert "shop/s is running, handles Buy since 6.0 s, waits for mailer/m" in told[1]


class Hung(Actor):
    async def receive(self, message):
        await trio.sleep_forever()
