-- Renew the term.
-- KEYS: lease, epoch
-- ARGV: lease text, epoch, ttl in ms
-- returns: 1, or 0 when the term is over
-- include: fence
if not term_holds(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) then return 0 end
renew_term(KEYS[1], ARGV[1], ARGV[3])
return 1
