-- A role that may read what Tidemill reads of Lago, and nothing else. Run it as the owner of Lago's
-- tables, in Lago's database; set a password of your own. `fixed_charges` is there from v1.33 on.

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
  public.fixed_charges,
  public.invoice_subscriptions,
  public.invoices,
  public.organizations,
  public.payments,
  public.plans,
  public.subscriptions
TO tidemill;
