"""What the core asks of the outside world, one Protocol each.

Adapters in `shared/adapters/` implement them; every adapter of a port passes the same contract tests
(`tests/integration/contracts/`). The core never imports an adapter.
"""

from shared.ports.bus import Bus
from shared.ports.clock import Clock
from shared.ports.jobs import Execution, Jobs, TaskArray
from shared.ports.ledger import BookState, Committed, Ledger
from shared.ports.research import Research
from shared.ports.secrets import Secrets, SecretVersion, VersionInfo
from shared.ports.storage import Bucket, ExitJournal, StoredObject
from shared.ports.venue import Exchange, MarketData, MarketStream, UserStream

__all__ = [
    "BookState",
    "Bucket",
    "Bus",
    "Clock",
    "Committed",
    "Exchange",
    "Execution",
    "ExitJournal",
    "Jobs",
    "Ledger",
    "MarketData",
    "MarketStream",
    "Research",
    "SecretVersion",
    "Secrets",
    "StoredObject",
    "TaskArray",
    "UserStream",
    "VersionInfo",
]
