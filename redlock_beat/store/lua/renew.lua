-- Renew the term.
-- KEYS: lease, epoch, hold
-- ARGV: the fence
-- returns: 1, or 0 while everything is held: then the term allows nothing outside Redis
-- include: fence
-- include: held
renew_term()
return held_until(KEYS[3]) and 0 or 1
