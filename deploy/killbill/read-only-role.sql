-- A role that may read what Tidemill reads of Kill Bill, and nothing else. Run it as the owner of
-- Kill Bill's tables, in its database; set a password of your own, and the schema where it is not
-- public (the installation guide uses killbillschema). The secrets of tenants stay closed;
-- `tenant_kvs` holds the catalogue, and beside it the settings of plugins.

CREATE ROLE tidemill LOGIN PASSWORD 'change me'
  CONNECTION LIMIT 5;
ALTER ROLE tidemill SET default_transaction_read_only = on;
ALTER ROLE tidemill SET statement_timeout = '60s';

GRANT USAGE ON SCHEMA public TO tidemill;
GRANT SELECT (record_id, id, external_key) ON public.tenants TO tidemill;
GRANT SELECT ON
  public.accounts,
  public.blocking_states,
  public.bundles,
  public.catalog_override_phase_definition,
  public.catalog_override_plan_definition,
  public.catalog_override_plan_phase,
  public.invoice_items,
  public.invoice_payments,
  public.invoices,
  public.payment_transactions,
  public.subscription_events,
  public.subscriptions,
  public.tags,
  public.tenant_kvs
TO tidemill;

-- The analytics plugin's, where it is installed: prices of plans whose catalogue is elsewhere.
DO $$
BEGIN
  IF to_regclass('public.analytics_subscription_transitions') IS NOT NULL THEN
    GRANT SELECT ON public.analytics_subscription_transitions TO tidemill;
  END IF;
END
$$;
