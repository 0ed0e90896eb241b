"""Every deliberate error of Tidemill, in one tree.

::

    TidemillError
    ├── QueryError                    the question cannot be answered as asked
    │   ├── InvalidQuery              several problems at once
    │   ├── InvalidSegment            several problems at once
    │   ├── UnknownMetric · UnknownQuestion · UnknownMeasure · UnknownDimension · UnknownSegment
    │   ├── UnknownAttribute          no customer has ever had it
    │   ├── UnknownCommand            the command line has no command of this name
    │   ├── UnknownSource             no connected source has this name
    │   ├── InvalidSource             a source cannot be connected so; several problems at once
    │   ├── UnknownCustomer           no source knows a customer of this id
    │   ├── UnknownQuarantined        nothing in the quarantine has this number
    │   ├── InvalidPolicy             several problems at once
    │   ├── UnknownPolicy · UnknownKnob
    │   ├── KnobNotSupported          a legal knob value that is not honoured yet
    │   ├── InvalidDay · InvalidInstant · InvalidRange · UnknownTimeZone
    │   ├── UnknownCurrency           not an ISO 4217 currency
    │   ├── StatementTimedOut         (Transient)
    │   ├── HistoryNotKept            nobody wrote down what was known when
    │   ├── NoChart                   an answer of this shape is a table
    │   ├── NotOneValue               an answer of many rows was read as one number
    │   ├── MissingRate               data incomplete: no exchange rate for a day
    │   └── CostDataMissing           data incomplete: no costs for the days asked
    ├── DefinitionError               a metric, cube or segment is defined wrongly
    │   └── BooksDoNotClose           an answer contradicts itself, so it is not shown
    ├── IngestError                   something cannot be taken in (Transient or Permanent)
    │   ├── InvalidEvent              several problems at once (Permanent)
    │   ├── InvalidFile               several problems at once (Permanent)
    │   ├── MergeRefused              two customers cannot become one company as asked (Permanent)
    │   ├── UnreadableFile            a file to import cannot be read (Permanent)
    │   └── SignatureRefused · BodyTooLarge · BodyNotJson   of deliveries to a webhook (Permanent)
    ├── VendorError                   a billing system's API cannot be read
    │   ├── ApiKeyMissing · ApiKeyRefused · ApiKeyWrongMode · ApiPermissionMissing
    │   ├── ApiAccountRefused · ApiRequestRefused   (Permanent)
    │   └── ApiUnreachable · SyncUnderway (Transient)
    └── ConfigError                   Tidemill is set up, or placed, wrongly
        ├── InvalidSettings           several problems at once
        ├── MissingExtra              an optional part is not installed
        ├── BooksInUse                the demo would stand among real data
        ├── AuthRequired              the API would be open to anyone
        ├── AddressUnavailable        the API cannot listen where it should
        ├── DatabaseUnreachable       (Transient)
        ├── DatabaseFull (Transient) · DatabaseTooOld
        ├── BrokerUnreachable         (Transient)
        ├── BrokerMisconfigured       its topics or rights are not as they must be
        ├── PositionsLost             a topic does not hold what comes next
        ├── RebuildRunning            (Transient)
        ├── SchemaNotUnderstood       a billing system's tables are not as they are known
        ├── TenantNotChosen           whose of the books in a billing system's database
        ├── KeysCollide               rows of a billing system cannot be told apart
        ├── NotInThisMode             a billing system's database is only read
        ├── SourceIsStore · StoreHoldsEvents · CopyOfAnother   no place for this copy of one
        ├── StoreIsCopy               a copy takes in no events about customers
        ├── CopyRemoved               what was asked is no longer there
        ├── SchemaTooNew · SchemaTooOld · MigrationRefused
        ├── WebhookSecretMissing      nothing can tell who sends to a webhook
        └── EmbeddedServerError
            └── EmbeddedLockStale · EmbeddedDiskFull · EmbeddedVersionMismatch
                · EmbeddedDirectoryUnwritable

An error carries a stable ``code`` for programs, a message that says what is wrong, a ``hint`` that
says what to do about it, and the ``context`` both were made from. Whether a retry can help is
decided by type: :class:`Transient` or :class:`Permanent`. HTTP statuses and exit codes are given by
the front ends, not here.
"""

from __future__ import annotations

from tidemill.errors.config import (
    AddressUnavailable,
    AuthRequired,
    BooksInUse,
    BrokerMisconfigured,
    BrokerUnreachable,
    ConfigError,
    DatabaseFull,
    DatabaseTooOld,
    DatabaseUnreachable,
    InvalidSettings,
    MigrationRefused,
    MissingExtra,
    PositionsLost,
    RebuildRunning,
    SchemaTooNew,
    SchemaTooOld,
    WebhookSecretMissing,
)
from tidemill.errors.definition import (
    BooksDoNotClose,
    DefinitionError,
)
from tidemill.errors.embedded import (
    EmbeddedDirectoryUnwritable,
    EmbeddedDiskFull,
    EmbeddedLockStale,
    EmbeddedServerError,
    EmbeddedVersionMismatch,
)
from tidemill.errors.ingest import (
    BodyNotJson,
    BodyTooLarge,
    IngestError,
    InvalidEvent,
    InvalidFile,
    MergeRefused,
    SignatureRefused,
    UnreadableFile,
)
from tidemill.errors.query import (
    CostDataMissing,
    InvalidDay,
    InvalidInstant,
    InvalidPolicy,
    InvalidQuery,
    InvalidRange,
    InvalidSegment,
    InvalidSource,
    KnobNotSupported,
    MissingRate,
    NoChart,
    NotOneValue,
    QueryError,
    StatementTimedOut,
    UnknownAttribute,
    UnknownCommand,
    UnknownCurrency,
    UnknownCustomer,
    UnknownDimension,
    UnknownKnob,
    UnknownMeasure,
    UnknownMetric,
    UnknownPolicy,
    UnknownQuarantined,
    UnknownQuestion,
    UnknownSegment,
    UnknownSource,
    UnknownTimeZone,
)
from tidemill.errors.root import (
    ManyProblems,
    Permanent,
    TidemillError,
    Transient,
    UnknownName,
)
from tidemill.errors.source import (
    CopyOfAnother,
    CopyRemoved,
    HistoryNotKept,
    KeysCollide,
    NotInThisMode,
    SchemaNotUnderstood,
    SourceIsStore,
    StoreHoldsEvents,
    StoreIsCopy,
    TenantNotChosen,
)
from tidemill.errors.vendor import (
    ApiAccountRefused,
    ApiKeyMissing,
    ApiKeyRefused,
    ApiKeyWrongMode,
    ApiPermissionMissing,
    ApiRequestRefused,
    ApiUnreachable,
    SyncUnderway,
    VendorError,
)
from tidemill.problems import Issue, Problem, did_you_mean

__all__ = [
    "AddressUnavailable",
    "ApiAccountRefused",
    "ApiKeyMissing",
    "ApiKeyRefused",
    "ApiKeyWrongMode",
    "ApiPermissionMissing",
    "ApiRequestRefused",
    "ApiUnreachable",
    "AuthRequired",
    "BodyNotJson",
    "BodyTooLarge",
    "BooksDoNotClose",
    "BooksInUse",
    "BrokerMisconfigured",
    "BrokerUnreachable",
    "ConfigError",
    "CopyOfAnother",
    "CopyRemoved",
    "CostDataMissing",
    "DatabaseFull",
    "DatabaseTooOld",
    "DatabaseUnreachable",
    "DefinitionError",
    "EmbeddedDirectoryUnwritable",
    "EmbeddedDiskFull",
    "EmbeddedLockStale",
    "EmbeddedServerError",
    "EmbeddedVersionMismatch",
    "HistoryNotKept",
    "IngestError",
    "InvalidDay",
    "InvalidEvent",
    "InvalidFile",
    "InvalidInstant",
    "InvalidPolicy",
    "InvalidQuery",
    "InvalidRange",
    "InvalidSegment",
    "InvalidSettings",
    "InvalidSource",
    "Issue",
    "KeysCollide",
    "KnobNotSupported",
    "ManyProblems",
    "MergeRefused",
    "MigrationRefused",
    "MissingExtra",
    "MissingRate",
    "NoChart",
    "NotInThisMode",
    "NotOneValue",
    "Permanent",
    "PositionsLost",
    "Problem",
    "QueryError",
    "RebuildRunning",
    "SchemaNotUnderstood",
    "SchemaTooNew",
    "SchemaTooOld",
    "SignatureRefused",
    "SourceIsStore",
    "StatementTimedOut",
    "StoreHoldsEvents",
    "StoreIsCopy",
    "SyncUnderway",
    "TenantNotChosen",
    "TidemillError",
    "Transient",
    "UnknownAttribute",
    "UnknownCommand",
    "UnknownCurrency",
    "UnknownCustomer",
    "UnknownDimension",
    "UnknownKnob",
    "UnknownMeasure",
    "UnknownMetric",
    "UnknownName",
    "UnknownPolicy",
    "UnknownQuarantined",
    "UnknownQuestion",
    "UnknownSegment",
    "UnknownSource",
    "UnknownTimeZone",
    "UnreadableFile",
    "VendorError",
    "WebhookSecretMissing",
    "did_you_mean",
]
