-- At most once: mark an item as taken before it is published. Only the one who gets 1 may publish it; who asks again for
-- the same term, since the answer was lost, gets it again. It stands there until its outcome is noted: a leader that finds
-- it and has not taken it notes that nobody knows.
-- KEYS: lease, epoch, hold, outbox
-- ARGV: the fence, id, the item as stamped
-- returns: 1 when taken, 0 when it was gone or another's
-- include: sending
local outbox = KEYS[4]
local id, stamped = word(), word()
local taken = string.gsub(stamped, ' ', ' taken ', 1)
local there = redis.call('HGET', outbox, id)
if there ~= stamped and there ~= taken then return 0 end
-- Removed first: a full server refuses to add, but in a script only where nothing was changed.
redis.call('HDEL', outbox, id)
redis.call('HSET', outbox, id, taken)
renew_term()
return 1
