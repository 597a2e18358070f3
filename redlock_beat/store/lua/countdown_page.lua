-- Some of the calls that are kept, soonest first: what is shown of them, and not the messages.
-- KEYS: countdowns, countdown_items
-- ARGV: lowest score, how many to leave out, how many
-- returns: {id, score, token and head ('' for one that has no item), ...}
-- include: words
local countdowns, items = KEYS[1], KEYS[2]
local low, skip, count = word(), word(), word()
local answer, bytes = {}, 0
local found = redis.call('ZRANGEBYSCORE', countdowns, low, '+inf', 'WITHSCORES', 'LIMIT', skip, count)
for i = 1, #found, 2 do
  -- Messages may be large: no more of them are looked into than make two megabytes.
  if bytes > 2000000 then break end
  local item = redis.call('HGET', items, found[i]) or ''
  bytes = bytes + #item
  answer[#answer + 1] = found[i]
  answer[#answer + 1] = found[i + 1]
  answer[#answer + 1] = string.match(item, '^[^\n]*')
end
return answer
