-- Read entries as they are at one instant.
-- KEYS: entries, state, due
-- ARGV: names
-- returns: {now, definition or false, state or false, score or false, ...}
-- include: time
local entries, state, due = KEYS[1], KEYS[2], KEYS[3]
local answer = {now}
for _, name in ipairs(ARGV) do
  answer[#answer + 1] = redis.call('HGET', entries, name)
  answer[#answer + 1] = redis.call('HGET', state, name)
  answer[#answer + 1] = redis.call('ZSCORE', due, name)
end
return answer
