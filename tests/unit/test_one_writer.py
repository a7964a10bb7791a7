"""Write transactions of the embedded server's SQLite take turns: none fails, and none waits for itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from prefect.server.database.configurations import AioSqliteConfiguration
    from sqlalchemy.ext.asyncio import AsyncSession

pytestmark = pytest.mark.slow


@pytest.fixture
def database(tmp_path: Path) -> AioSqliteConfiguration:
    from prefect.server.database.configurations import AioSqliteConfiguration

    import tidegate.prefect.one_writer  # noqa: F401 - for what its import does

    return AioSqliteConfiguration(f"sqlite+aiosqlite:///{tmp_path / 'prefect.db'}", timeout=1)


def transaction(database: AioSqliteConfiguration) -> AbstractAsyncContextManager[AsyncSession]:
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def go() -> AsyncIterator[AsyncSession]:
        session = await database.session(await database.engine())
        async with session, database.begin_transaction(session):
            yield session

    return go()


async def make_counter(database: AioSqliteConfiguration) -> None:
    async with transaction(database) as session:
        await session.execute(text("CREATE TABLE counter (n INTEGER)"))
        await session.execute(text("INSERT INTO counter VALUES (0)"))


async def count(database: AioSqliteConfiguration) -> int:
    async with transaction(database) as session:
        return int((await session.execute(text("SELECT n FROM counter"))).scalar_one())


def test_transactions_that_read_and_then_write_all_succeed(database: AioSqliteConfiguration) -> None:
    async def add_one() -> None:
        async with transaction(database) as session:
            read = (await session.execute(text("SELECT n FROM counter"))).scalar_one()
            await asyncio.sleep(0)  # to the others
            await session.execute(text("UPDATE counter SET n = :n"), {"n": read + 1})

    async def go() -> int:
        await make_counter(database)
        await asyncio.gather(*(add_one() for _ in range(20)))
        return await count(database)

    assert asyncio.run(go()) == 20


def test_a_reading_transaction_inside_another_does_not_wait_for_itself(
    database: AioSqliteConfiguration,
) -> None:
    async def go() -> int:
        await make_counter(database)
        async with transaction(database):
            return await count(database)

    assert asyncio.run(asyncio.wait_for(go(), 5)) == 0


def test_a_task_that_a_transaction_left_behind_takes_turns_too(database: AioSqliteConfiguration) -> None:
    async def go() -> int:
        await make_counter(database)
        over = asyncio.Event()

        async def later() -> None:
            await over.wait()
            async with transaction(database) as session:
                await session.execute(text("UPDATE counter SET n = n + 1"))

        async with transaction(database):
            left = asyncio.create_task(later())
        async with transaction(database) as session:
            over.set()
            await asyncio.sleep(0.1)  # in which it would begin, had it no turn to wait for
            assert not left.done()
            await session.execute(text("UPDATE counter SET n = n + 1"))
        await left
        return await count(database)

    assert asyncio.run(go()) == 2
