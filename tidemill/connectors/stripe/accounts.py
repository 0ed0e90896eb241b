"""Connected accounts: each is a business, and so a source, of its own."""

from __future__ import annotations

from typing import Final

__all__ = ["account_source", "source_account"]

# How the ids of connected accounts begin.
_ACCOUNT: Final = "acct_"


def account_source(source: str, account: str) -> str:
    """The source that the events of an account belong to.

    What belongs to a connected account is another business: a source of its own.
    """
    return f"{source}:{account}" if account else source


def source_account(source: str) -> tuple[str, str]:
    """The source a connected account came in by, and the account; empty for the source's own.

    >>> source_account("eu:acct_1"), source_account("eu")
    (('eu', 'acct_1'), ('eu', ''))
    """
    name, _, account = source.partition(f":{_ACCOUNT}")
    return name, f"{_ACCOUNT}{account}" if account else ""
