-- At most once: take an item out before it is published. Only the one who gets 1 may publish it.
-- KEYS: lease, epoch, outbox
-- ARGV: lease text, epoch, ttl in ms, id, the item as stamped
-- returns: 1 when taken, 0 when it was gone or another's, -1 when the term is over
-- include: fence
if not term_holds(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) then return -1 end
if redis.call('HGET', KEYS[3], ARGV[4]) ~= ARGV[5] then return 0 end
redis.call('HDEL', KEYS[3], ARGV[4])
renew_term(KEYS[1], ARGV[1], ARGV[3])
return 1
