"""Let the embedded Prefect server's write transactions wait for each other outside SQLite.

Prefect lets SQLite wait, up to 60 seconds, in a thread for each connection. When the event loop's
thread meanwhile frees a cursor of a connection that waits, it blocks on that connection's mutex; then
the transaction that is waited for can't go on either, and the server stands still until the 60
seconds are over and "database is locked" is said. A transaction that read first and then wants to
write fails without waiting at all, and its request answers 503, which clients repeat seconds later.

Imported in the server's process before Prefect starts, this makes each transaction wait for its turn
in the event loop, and take SQLite's write lock as it begins.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction


@dataclass
class _Turn:
    is_over: bool = False


#: One turn for each event loop: Prefect has one engine a loop, too.
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
#: The transaction in which this task runs, or was started.
_around: ContextVar[_Turn | None] = ContextVar("around", default=None)
_begin_transaction = AioSqliteConfiguration.begin_transaction


@asynccontextmanager
async def _begin_in_turn(
    self: AioSqliteConfiguration, session: AsyncSession, with_for_update: bool = False
) -> AsyncIterator[AsyncSessionTransaction]:
    around = _around.get()
    if around is not None and not around.is_over:
        # A transaction inside another one: waiting for the turn would be waiting for itself.
        async with _begin_transaction(self, session, with_for_update) as transaction:
            yield transaction
        return
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        turn = _Turn()
        token = _around.set(turn)
        try:
            async with session.begin() as transaction:
                mode = SQLITE_BEGIN_MODE.set("IMMEDIATE")
                try:
                    await session.connection()
                finally:
                    SQLITE_BEGIN_MODE.reset(mode)
                yield transaction
        finally:
            turn.is_over = True
            _around.reset(token)


AioSqliteConfiguration.begin_transaction = _begin_in_turn  # type: ignore[method-assign]
