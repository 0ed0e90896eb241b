-- A role that may read what Tidemill reads of Lago, and nothing else. Run it as the owner of Lago's
-- tables, in Lago's database; set a password of your own.

CREATE ROLE tidemill LOGIN PASSWORD 'change me'
  CONNECTION LIMIT 5;
ALTER ROLE tidemill SET default_transaction_read_only = on;
ALTER ROLE tidemill SET statement_timeout = '60s';

GRANT USAGE ON SCHEMA public TO tidemill;
GRANT SELECT ON
  public.applied_coupons,
  public.coupon_targets,
  public.coupons,
  public.credit_notes,
  public.customers,
  public.fees,
  public.invoice_subscriptions,
  public.invoices,
  public.organizations,
  public.payments,
  public.plans,
  public.subscriptions
TO tidemill;

-- Fixed charges, where this version of Lago has them.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY[
    'public.fixed_charges',
    'public.fixed_charge_events',
    'public.subscription_fixed_charge_units_overrides'
  ] LOOP
    IF to_regclass(name) IS NOT NULL THEN
      EXECUTE 'GRANT SELECT ON ' || name || ' TO tidemill';
    END IF;
  END LOOP;
END
$$;
