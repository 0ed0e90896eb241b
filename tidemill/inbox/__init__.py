"""The inbox: what vendors send to webhooks, kept before it is acknowledged, then taken in.

A delivery is stored byte by byte and acknowledged; that is all that happens while the vendor waits.
Whoever works afterwards (`work`) translates deliveries in the order of their arrival, puts their
events into the log and notes what became of each, in one transaction.
"""
