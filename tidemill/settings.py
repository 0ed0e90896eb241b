"""Settings: how Tidemill is set up. The only code that sees the environment.

From strongest to weakest: what the caller passes, environment variables, the configuration file
(``.tidemill.toml`` in the working directory unless another is named), the defaults. In the file the
keys are the field names below, such as ``base_currency = "EUR"``.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tidemill.errors import (
    InvalidPolicy,
    InvalidSettings,
    Problem,
    TidemillError,
    UnknownKnob,
    UnknownPolicy,
    did_you_mean,
)
from tidemill.money import currency_code
from tidemill.periods import zone
from tidemill.policy import Policy

__all__ = ["CONFIG_FILE", "Settings", "load_settings"]

CONFIG_FILE = ".tidemill.toml"
"""Name of the configuration file that is read from the working directory."""

_PREFIX = "TIDEMILL_"
_TYPING_ERROR = 0.9  # how alike a variable must be to one of ours to be taken for it


def _known_currency(code: str) -> str:
    try:
        return currency_code(code)
    except TidemillError as error:
        raise ValueError(str(error)) from error


def _known_zone(name: str) -> str:
    try:
        return zone(name).key
    except TidemillError as error:
        raise ValueError(str(error)) from error


def _named_secrets(given: str) -> dict[str, tuple[str, ...]]:
    """``whsec_1,whsec_2,eu=whsec_3``: source → its secrets; those without a name are `stripe`'s."""
    found: dict[str, list[str]] = {}
    for each in filter(str.strip, given.split(",")):
        name, equals, secret = each.strip().partition("=")
        if not equals:
            name, secret = "stripe", name
        if not name.strip() or not secret.strip():
            message = "write SECRET or SOURCE=SECRET, several separated by commas"
            raise ValueError(message)
        found.setdefault(name.strip(), []).append(secret.strip())
    return {name: tuple(secrets) for name, secrets in found.items()}


def _readable_secrets(given: object) -> object:
    if isinstance(given, str):
        _named_secrets(given)
    return given


def _readable_keys(given: object) -> object:
    if isinstance(given, str):
        twice = [name for name, keys in _named_secrets(given).items() if len(keys) > 1]
        if twice:
            message = f"the source {twice[0]!r} has two keys; name each source once"
            raise ValueError(message)
    return given


def _safe_address(address: str) -> str:
    parts = urlsplit(address)
    here = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if not parts.hostname or parts.scheme not in ({"http", "https"} if here else {"https"}):
        message = "must be an https address (http is for this machine only)"
        raise ValueError(message)
    return address.rstrip("/")


def _knob_values(given: object) -> object:
    """``netting=month;fx=constant``, or a table in the file."""
    if not isinstance(given, str):
        return given
    pairs = [each.partition("=") for each in given.replace(",", ";").split(";") if each.strip()]
    bare = [name for name, equals, _ in pairs if not equals]
    if bare:
        message = f"write KNOB=VALUE; {bare[0]!r} has no value"
        raise ValueError(message)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _from_environment(*names: str) -> AliasChoices:
    return AliasChoices(*names)


class Settings(BaseSettings):
    """How Tidemill is set up; make it with :func:`load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_ignore_empty=True,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
    )

    database_url: str | None = Field(
        default=None,
        repr=False,
        validation_alias=_from_environment("TIDEMILL_DATABASE_URL", "DATABASE_URL"),
        description="PostgreSQL that holds the analytics, such as `postgresql://user@host/name`. "
        "Without it the embedded server is used.",
    )
    data_dir: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("tidemill"),
        description="Where the embedded database and other files live. Default: the platform's "
        "directory for user data.",
    )
    connector: Literal["stripe", "lago", "killbill"] | None = Field(
        default=None,
        validation_alias=_from_environment("TIDEMILL_CONNECTOR", "CONNECTOR"),
        description="The billing system. `killbill` and `lago` are read in place, in their own "
        "database.",
    )
    source_url: str | None = Field(
        default=None,
        repr=False,
        description="The billing system's own database, read and never written. Without it that "
        "is `TIDEMILL_DATABASE_URL`; with both, the latter holds exchange rates, and a copy when "
        "`tidemill refresh` has made one.",
    )
    source_schema: str | None = Field(
        default=None,
        description="The schema in it that holds the tables, when it is not the usual one.",
    )
    source_tenant: str | None = Field(
        default=None,
        description="Whose books of those in it: id or name of a Lago organization, id or "
        "external key of a Kill Bill tenant. Needed when there are several.",
    )
    kafka_bootstrap_servers: str | None = Field(
        default=None,
        validation_alias=_from_environment("KAFKA_BOOTSTRAP_SERVERS"),
        description="Kafka or Redpanda brokers, comma-separated. Without them the event log in "
        "PostgreSQL is the bus.",
    )
    kafka_topic: str = Field(
        default="tidemill.events",
        description="The topic that events travel on; what is quarantined is copied to the topic "
        "of this name with `.dlq`.",
    )
    worker_name: str | None = Field(
        default=None,
        description="A name that stays a worker's own when it starts again, such as that of its "
        "pod: Kafka then keeps its partitions for it meanwhile.",
    )
    stripe_api_key: Annotated[SecretStr | None, BeforeValidator(_readable_keys)] = Field(
        default=None,
        validation_alias=_from_environment("STRIPE_API_KEY"),
        description="Key for reading from Stripe's API; a restricted key with read access is "
        "enough. Several accounts have one each, comma-separated: `SOURCE=KEY` names another "
        "source than `stripe`.",
    )
    stripe_api_base: Annotated[str, AfterValidator(_safe_address)] = Field(
        default="https://api.stripe.com",
        validation_alias=_from_environment("TIDEMILL_STRIPE_API_BASE", "STRIPE_API_BASE"),
        description="Where Stripe's API is; another address only for tests. Beyond this machine "
        "it must be `https`, because the key is sent there.",
    )
    stripe_requests_per_second: float = Field(
        default=10.0,
        ge=0,
        description="How many requests a second are sent to Stripe at most; 0 for no limit of our "
        "own. Stripe allows 100 a second in live mode and 25 in a sandbox, for everybody who uses "
        "the account.",
    )
    stripe_reconcile_nightly: bool = Field(
        default=True,
        description="Whether `tidemill worker` compares the books with Stripe every night, when a "
        "key is configured. Nothing is changed by it; differences are said beside every number.",
    )
    stripe_webhook_secret: Annotated[SecretStr | None, BeforeValidator(_readable_secrets)] = Field(
        default=None,
        validation_alias=_from_environment("STRIPE_WEBHOOK_SECRET"),
        description="Signing secret of the webhook endpoint; several, comma-separated, while one "
        "replaces another. `SOURCE=SECRET` names another source than `stripe`. Without it webhooks "
        "are refused.",
    )
    base_currency: Annotated[str, BeforeValidator(_known_currency)] = Field(
        default="USD", description="ISO 4217 code of the currency that totals are shown in."
    )
    timezone: Annotated[str, BeforeValidator(_known_zone)] = Field(
        default="UTC",
        description="IANA zone whose midnights separate days; the policy knob `tz` unless that is "
        "set itself.",
    )
    policy: str = Field(default="default", description="Name of the policy preset in force.")
    policy_set: Annotated[dict[str, str], NoDecode, BeforeValidator(_knob_values)] = Field(
        default={},
        description="Knobs turned in that preset, such as `netting=month;past_due=after:30`; a "
        "table in the file.",
    )
    auth_enabled: bool | None = Field(
        default=None,
        validation_alias=_from_environment("AUTH_ENABLED"),
        description="Whether the API asks who is calling. Default: only when it listens beyond "
        "loopback.",
    )
    auth_issuer: str | None = Field(
        default=None,
        validation_alias=_from_environment("AUTH_ISSUER", "CLERK_ISSUER"),
        description="OIDC issuer whose tokens are accepted.",
    )
    auth_jwks_url: str | None = Field(
        default=None,
        validation_alias=_from_environment("AUTH_JWKS_URL", "CLERK_JWKS_URL"),
        description="Where the issuer's public keys are. Default: found through the issuer.",
    )
    auth_audience: str | None = Field(
        default=None,
        validation_alias=_from_environment("AUTH_AUDIENCE"),
        description="Audience that tokens must be meant for.",
    )
    clerk_publishable_key: str | None = Field(
        default=None,
        validation_alias=_from_environment("CLERK_PUBLISHABLE_KEY"),
        description="Clerk's public key for the dashboard's sign-in.",
    )
    clerk_secret_key: SecretStr | None = Field(
        default=None,
        validation_alias=_from_environment("CLERK_SECRET_KEY"),
        description="Clerk's secret key.",
    )
    metrics_enabled: bool = Field(
        default=False,
        description="Whether `/metrics` tells Prometheus of lag, workers, quarantine and memory.",
    )
    otel_enabled: bool = Field(
        default=False, description="Whether traces and metrics are sent by OpenTelemetry."
    )
    otel_exporter_otlp_endpoint: str | None = Field(
        default=None,
        validation_alias=_from_environment("OTEL_EXPORTER_OTLP_ENDPOINT"),
        description="Where they are sent.",
    )
    sentry_dsn: SecretStr | None = Field(
        default=None,
        validation_alias=_from_environment("SENTRY_DSN"),
        description="Where crashes are reported; without it nowhere.",
    )

    @property
    def reads_in_place(self) -> bool:
        """Whether answers come from a billing system's own database."""
        return self.connector in {"killbill", "lago"}

    @property
    def stripe_api_keys(self) -> dict[str, str]:
        """Source → the key that opens its account."""
        given = self.stripe_api_key.get_secret_value() if self.stripe_api_key else ""
        return {name: keys[0] for name, keys in _named_secrets(given).items()} if given else {}

    @property
    def stripe_webhook_secrets(self) -> dict[str, tuple[str, ...]]:
        """Source → every signing secret that is valid for it now."""
        given = self.stripe_webhook_secret.get_secret_value() if self.stripe_webhook_secret else ""
        return _named_secrets(given) if given else {}

    def configured_policy(self) -> Policy:
        """The policy in force: the preset, its turned knobs, and the time zone.

        Raises: UnknownPolicy, UnknownKnob or InvalidPolicy; never after :func:`load_settings`.
        """
        return Policy.of(self.policy, {"tz": self.timezone} | self.policy_set)


def load_settings(config_file: str | Path | None = None, **overrides: Any) -> Settings:
    """The settings from file, environment and `overrides`; an override of None is left out.

    Raises: InvalidSettings with every problem found, each with the name it was written under.
    """
    problems = _misspelled(os.environ)
    values, origin = _read_file(config_file, problems)
    given = {name: value for name, value in overrides.items() if value is not None}
    # What is passed to pydantic beats the environment, so the file may only fill what that leaves.
    values = {
        name: value
        for name, value in values.items()
        if not any(os.environ.get(each) for each in _variables(name))
    }
    try:
        settings = Settings(**(values | given))
        settings.configured_policy()
    except ValidationError as error:
        problems += [_problem(each, values, origin) for each in error.errors()]
    except InvalidPolicy as error:
        problems += [
            replace(each, path=f"{_PREFIX}POLICY_SET: {each.path}") for each in error.problems
        ]
    except (UnknownPolicy, UnknownKnob) as error:
        variable = "POLICY" if isinstance(error, UnknownPolicy) else "POLICY_SET"
        problems.append(Problem(f"{_PREFIX}{variable}", error.message, error.hint))
    else:
        if not problems:
            return settings
    raise InvalidSettings(problems)


def _read_file(
    config_file: str | Path | None, problems: list[Problem]
) -> tuple[dict[str, Any], str]:
    """What the configuration file sets, by field name, and what the file is called."""
    path = Path(config_file or CONFIG_FILE)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if config_file:
            problems.append(Problem(str(path), "does not exist", "`tidemill init` writes one."))
        return {}, str(path)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problems.append(Problem(str(path), f"cannot be read: {error}"))
        return {}, str(path)
    known = Settings.model_fields
    for name in values:
        if name in known:
            continue
        fallback = f"Known: {', '.join(known)}."
        hint = did_you_mean(name.lower().removeprefix(_PREFIX.lower()), known, otherwise=fallback)
        problems.append(Problem(f"{path}: {name}", "no setting has this name", hint))
    return {name: value for name, value in values.items() if name in known}, str(path)


def _variables(name: str) -> list[str]:
    """The environment variables a setting is read from, the preferred one first."""
    alias = Settings.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return [str(each) for each in alias.choices]
    return [f"{_PREFIX}{name}".upper()]


def _misspelled(environment: Mapping[str, str]) -> list[Problem]:
    """Variables that are all but ours: ignoring them would quietly use the default."""
    ours = [each for name in Settings.model_fields for each in _variables(name)]
    return [
        Problem(variable, "no setting has this name", hint)
        for variable in environment
        if variable.startswith(_PREFIX) and variable not in ours
        if (hint := did_you_mean(variable, ours, cutoff=_TYPING_ERROR))
    ]


def _problem(error: Any, values: Mapping[str, Any], origin: str) -> Problem:
    """What pydantic found, under the name the value was written under; never the value itself."""
    name = str(error["loc"][0]) if error["loc"] else ""
    field = next((each for each in Settings.model_fields if name in {each, *_variables(each)}), "")
    if not field:
        hint = did_you_mean(name, Settings.model_fields)
        return Problem(name, "no setting has this name", hint)
    where = f"{origin}: {field}" if field in values else _variables(field)[0]
    message = str(error["msg"]).removeprefix("Value error, ")
    return Problem(where, message[:1].lower() + message[1:])
