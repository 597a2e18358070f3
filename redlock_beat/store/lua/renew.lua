-- Renew the term.
-- KEYS: lease, epoch
-- ARGV: the fence
-- returns: 1
-- include: fence
renew_term()
return 1
