-- Read entries as they are at one instant.
-- KEYS: entries, state, due
-- ARGV: names
-- returns: {now in s, its microseconds, definition or false, state or false, score or false, ...}
local time = redis.call('TIME')
local answer = {time[1], time[2]}
for _, name in ipairs(ARGV) do
  answer[#answer + 1] = redis.call('HGET', KEYS[1], name)
  answer[#answer + 1] = redis.call('HGET', KEYS[2], name)
  answer[#answer + 1] = redis.call('ZSCORE', KEYS[3], name)
end
return answer
