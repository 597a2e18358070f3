-- Calls whose time has come, soonest first. Renews the term.
-- KEYS: lease, epoch, hold, countdowns, countdown_items
-- ARGV: the fence, how many
-- returns: {now, id, score, item ('' for one that has none), ...}
-- include: sending
-- include: time
local countdowns, items = KEYS[4], KEYS[5]
local found = redis.call('ZRANGEBYSCORE', countdowns, '-inf', now_score, 'WITHSCORES', 'LIMIT', 0, word())
local answer, bytes = {now}, 0
for i = 1, #found, 2 do
  -- Messages may be large: no more of them than make two megabytes, and the rest another time.
  if bytes > 2000000 then break end
  local item = redis.call('HGET', items, found[i]) or ''
  bytes = bytes + #item
  answer[#answer + 1] = found[i]
  answer[#answer + 1] = found[i + 1]
  answer[#answer + 1] = item
end
renew_term()
return answer
