-- Which drawers of a cafe are open: asked whenever somebody opens the counter's screen.

CREATE INDEX drawers_open ON drawers (cafe_id, opened_at) WHERE open;
