-- The configuration is synced: put its mark in the place of the one the sync began with.
-- KEYS: lease, epoch, config
-- ARGV: lease text, epoch, ttl in ms, mark of the beginning, mark
-- returns: -1 when the term is over, 1 when it is set, 0 when another mark stands there: Redis has lost what was written
-- include: fence
if not term_holds(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) then return -1 end
if redis.call('GET', KEYS[3]) ~= ARGV[4] then return 0 end
redis.call('SET', KEYS[3], ARGV[5])
renew_term(KEYS[1], ARGV[1], ARGV[3])
return 1
