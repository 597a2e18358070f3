-- Items of the outbox that the broker refuses, of an entry that was edited since: they are rendered anew.
-- KEYS: lease, epoch, outbox, manual
-- ARGV: lease text, epoch, ttl in ms, wake channel, then for each: id, manual item
-- returns: -1 when the term is over, else how many were there
-- include: fence
if not term_holds(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) then return -1 end
local now = redis.call('TIME')[1]
local moved = 0
for i = 5, #ARGV, 2 do
  -- Added first: a full server refuses that, and then nothing is lost.
  if redis.call('HEXISTS', KEYS[3], ARGV[i]) == 1 then
    redis.call('ZADD', KEYS[4], now, ARGV[i + 1])
    redis.call('HDEL', KEYS[3], ARGV[i])
    moved = moved + 1
  end
end
renew_term(KEYS[1], ARGV[1], ARGV[3])
redis.pcall('PUBLISH', ARGV[4], 'edit')
return moved
