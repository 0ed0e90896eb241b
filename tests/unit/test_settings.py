"""Settings: where they come from, which wins, and every mistake under the name it was written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tidemill.errors import InvalidSettings
from tidemill.settings import CONFIG_FILE, Settings, load_settings


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment without any of our variables, and an empty working directory."""
    ours = {each for field in Settings.model_fields.values() for each in _aliases(field)}
    for variable in list(os.environ):
        if variable.startswith("TIDEMILL_") or variable in ours:
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)


def _aliases(field: object) -> list[str]:
    return list(getattr(getattr(field, "validation_alias", None), "choices", []))


def test_nothing_needs_to_be_set() -> None:
    settings = load_settings()
    assert settings.database_url is None
    assert settings.base_currency == "USD"
    assert settings.timezone == "UTC"
    assert settings.auth_enabled is None
    assert settings.otel_enabled is False
    assert settings.data_dir.name == "tidemill"
    assert settings.configured_policy().overrides == {}


CONTRACT = {
    "TIDEMILL_DATABASE_URL": "postgresql://one",
    "DATABASE_URL": "postgresql://one",
    "TIDEMILL_DATA_DIR": "somewhere",
    "TIDEMILL_CONNECTOR": "lago",
    "CONNECTOR": "lago",
    "TIDEMILL_SOURCE_URL": "postgresql://billing",
    "KAFKA_BOOTSTRAP_SERVERS": "one:9092,two:9092",
    "STRIPE_API_KEY": "rk_1",
    "STRIPE_WEBHOOK_SECRET": "whsec_1",
    "TIDEMILL_BASE_CURRENCY": "EUR",
    "TIDEMILL_TIMEZONE": "Europe/Prague",
    "TIDEMILL_POLICY": "stripe",
    "TIDEMILL_POLICY_SET": "netting=month",
    "AUTH_ENABLED": "true",
    "AUTH_ISSUER": "https://issuer",
    "AUTH_JWKS_URL": "https://issuer/keys",
    "AUTH_AUDIENCE": "tidemill",
    "CLERK_PUBLISHABLE_KEY": "pk_1",
    "CLERK_SECRET_KEY": "sk_1",
    "TIDEMILL_OTEL_ENABLED": "1",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector",
    "SENTRY_DSN": "https://sentry",
}


@pytest.mark.parametrize("variable", CONTRACT)
def test_every_variable_of_the_contract_is_read(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_settings()
    monkeypatch.setenv(variable, CONTRACT[variable])
    assert load_settings() != before


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_our_own_name_beats_the_common_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://somebody-elses")
    monkeypatch.setenv("TIDEMILL_DATABASE_URL", "postgresql://ours")
    assert load_settings().database_url == "postgresql://ours"


def test_caller_beats_environment_beats_file_beats_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path(CONFIG_FILE).write_text(
        'base_currency = "CZK"\ntimezone = "Europe/Prague"\npolicy = "maxio"\n'
        'database_url = "postgresql://file"\n',
        encoding="utf-8",
    )
    monkeypatch.setenv("TIDEMILL_TIMEZONE", "Asia/Tokyo")
    monkeypatch.setenv("TIDEMILL_POLICY", "stripe")
    monkeypatch.setenv("DATABASE_URL", "postgresql://environment")
    settings = load_settings(policy="chartmogul", base_currency=None)
    assert settings.base_currency == "CZK"
    assert settings.timezone == "Asia/Tokyo"
    assert settings.policy == "chartmogul"
    assert settings.database_url == "postgresql://environment"
    assert load_settings(database_url="postgresql://caller").database_url == "postgresql://caller"
    other = tmp_path / "other.toml"
    other.write_text('base_currency = "EUR"', encoding="utf-8")
    assert load_settings(other).base_currency == "EUR"


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(CONFIG_FILE).write_text('base_currency = "CZK"', encoding="utf-8")
    monkeypatch.setenv("TIDEMILL_BASE_CURRENCY", "")
    assert load_settings().base_currency == "CZK"


def test_currencies_are_canonical(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_BASE_CURRENCY", "eur")
    assert load_settings().base_currency == "EUR"


@pytest.mark.parametrize(
    "text", ["netting=month;past_due=after:30", "netting=month, past_due=after:30"]
)
def test_knobs_are_turned_by_variable(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_POLICY_SET", text)
    assert load_settings().configured_policy().overrides == {
        "netting": "month",
        "past_due": "after:30",
    }


def test_knobs_are_turned_by_file() -> None:
    Path(CONFIG_FILE).write_text('policy = "stripe"\n[policy_set]\ntax = "include"\n', "utf-8")
    policy = load_settings().configured_policy()
    assert (policy.preset, policy.overrides) == ("stripe", {"tax": "include"})


def test_the_time_zone_is_the_policys_unless_that_is_turned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TIDEMILL_TIMEZONE", "Asia/Kathmandu")
    assert load_settings().configured_policy().tz == "Asia/Kathmandu"
    monkeypatch.setenv("TIDEMILL_POLICY_SET", "tz=Europe/Prague")
    assert load_settings().configured_policy().tz == "Europe/Prague"


def test_several_webhook_secrets_are_valid_while_rolling(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().stripe_webhook_secrets == {}
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", "whsec_old, whsec_new,")
    assert load_settings().stripe_webhook_secrets == {"stripe": ("whsec_old", "whsec_new")}
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", "whsec_1,eu = whsec_2,eu=whsec_3")
    assert load_settings().stripe_webhook_secrets == {
        "stripe": ("whsec_1",),
        "eu": ("whsec_2", "whsec_3"),
    }
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", "eu=,whsec_2")
    with pytest.raises(InvalidSettings, match="SOURCE=SECRET") as error:
        load_settings()
    assert "whsec_2" not in str(error.value)


def test_each_account_has_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().stripe_api_keys == {}
    monkeypatch.setenv("STRIPE_API_KEY", "rk_live_1, eu = rk_live_2")
    assert load_settings().stripe_api_keys == {"stripe": "rk_live_1", "eu": "rk_live_2"}
    monkeypatch.setenv("STRIPE_API_KEY", "rk_live_1,rk_live_2")
    with pytest.raises(InvalidSettings, match="two keys") as error:
        load_settings()
    assert "rk_live" not in str(error.value)


def test_every_mistake_is_named_where_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(CONFIG_FILE).write_text(
        'base_curency = "CZK"\nauth_enabled = "maybe"\nTIDEMILL_POLICY = "x"\n', encoding="utf-8"
    )
    monkeypatch.setenv("TIDEMILL_BASE_CURRENCY", "EUX")
    monkeypatch.setenv("TIDEMILL_TIMEZONE", "Europe/Praha")
    monkeypatch.setenv("TIDEMILL_POLCY", "stripe")
    with pytest.raises(InvalidSettings) as caught:
        load_settings(connector="strip")
    found = {problem.path: problem for problem in caught.value.problems}
    assert found.keys() == {
        f"{CONFIG_FILE}: base_curency",
        f"{CONFIG_FILE}: TIDEMILL_POLICY",
        f"{CONFIG_FILE}: auth_enabled",
        "TIDEMILL_BASE_CURRENCY",
        "TIDEMILL_TIMEZONE",
        "TIDEMILL_POLCY",
        "TIDEMILL_CONNECTOR",
    }
    assert found[f"{CONFIG_FILE}: base_curency"].hint == "Did you mean 'base_currency'?"
    assert found[f"{CONFIG_FILE}: TIDEMILL_POLICY"].hint == "Did you mean 'policy'?"
    assert found["TIDEMILL_POLCY"].hint == "Did you mean 'TIDEMILL_POLICY'?"


def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_TEST_SERVER", "yes")
    monkeypatch.setenv("POLICY", "nonsense")
    assert load_settings().policy == "default"


def test_the_policy_is_checked_with_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_POLICY", "strip")
    with pytest.raises(InvalidSettings, match="Did you mean 'stripe'"):
        load_settings()
    monkeypatch.setenv("TIDEMILL_POLICY", "stripe")
    monkeypatch.setenv("TIDEMILL_POLICY_SET", "neting=day;tax=maybe")
    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    assert len(caught.value.problems) == 2
    monkeypatch.setenv("TIDEMILL_POLICY_SET", "netting")
    with pytest.raises(InvalidSettings, match="'netting' has no value"):
        load_settings()


def test_a_named_file_must_exist_and_be_readable(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="does not exist"):
        load_settings(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_bytes(b"policy = \xff")
    with pytest.raises(InvalidSettings, match="cannot be read"):
        load_settings(broken)
    broken.write_text("policy = ", encoding="utf-8")
    with pytest.raises(InvalidSettings, match="cannot be read"):
        load_settings(broken)
    with pytest.raises(InvalidSettings, match="cannot be read"):
        load_settings(tmp_path)


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "DATABASE_URL": "postgresql://user:hunter2@host/db",
        "TIDEMILL_SOURCE_URL": "postgresql://user:hunter2@host/billing",
        "STRIPE_API_KEY": "rk_hunter2",
        "STRIPE_WEBHOOK_SECRET": "whsec_hunter2",
        "CLERK_SECRET_KEY": "sk_hunter2",
        "SENTRY_DSN": "https://hunter2@sentry",
    }
    for variable, value in secrets.items():
        monkeypatch.setenv(variable, value)
    assert "hunter2" not in f"{load_settings()!r} {load_settings()!s}"
    monkeypatch.setenv("TIDEMILL_CONNECTOR", "hunter2")
    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().base_currency = "EUR"  # type: ignore[misc]  # the case
