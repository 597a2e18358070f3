-- Read the first of some entries as they are at one instant: as many as a page may hold, and one at least.
-- KEYS: entries, state, due
-- ARGV: bytes of all definitions at most, names
-- returns: {now, [definition or false, ...], [state or false, ...], [score or false, ...]}
-- include: time
local entries, state, due = KEYS[1], KEYS[2], KEYS[3]
local names, left = {}, tonumber(ARGV[1])
for i = 2, #ARGV do
  left = left - redis.call('HSTRLEN', entries, ARGV[i])
  if left < 0 and i > 2 then break end
  names[i - 1] = ARGV[i]
end
return {now, redis.call('HMGET', entries, unpack(names)), redis.call('HMGET', state, unpack(names)),
        redis.call('ZMSCORE', due, unpack(names))}
