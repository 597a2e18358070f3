-- A worker says that it lives, for so long from now; ttl 0: that it goes.
-- KEYS: workers
-- ARGV: token, ttl in ms
-- returns: now
-- include: words
-- include: time
local workers = KEYS[1]
local token, ttl = word(), tonumber(word())
if ttl == 0 then
  redis.call('ZREM', workers, token)
else
  redis.call('ZADD', workers, string.format('%.6f', tonumber(now_score) + ttl / 1000), token)
end
-- One that has been gone for an hour holds nothing any more.
redis.call('ZREMRANGEBYSCORE', workers, '-inf', seconds - 3600)
return now
