-- What becomes of a slot whose entry may have one run at a time.
-- include: sent
-- include: claims
-- Returns nil when it may run; else what holds it up (the id of a run, or that others wait), when to look again, and
-- whether a run is under way. And what waits, if anything does.
local function held_up(workers, claims, buffered, manual, state, name, id, item)
  local waiting = {}
  if redis.call('HEXISTS', buffered, name) == 1 then waiting = waiting_for(buffered, manual, state, name) end
  local held, until_, by = claim_of(claims, name)
  if held and held ~= id and stands(workers, until_, by) then
    local again = by ~= '-' and redis.call('ZSCORE', workers, by)
    if not again and by == '-' then again = string.format('%.6f', tonumber(until_) / 1000000) end
    if not again or tonumber(again) <= tonumber(now_score) then again = string.format('%d.%s', seconds + 1, rest) end
    return 'run ' .. held, again, true, waiting, held
  end
  -- What came first goes first.
  if #waiting > 0 and waiting[1] ~= item then
    return 'what waits before it', string.format('%d.%s', seconds + 1, rest), false, waiting
  end
  return nil, nil, false, waiting
end
-- The state of an entry that moves on without having been sent: how often and when last are as before.
local function not_sent(before, after)
  local head = string.match(after, '^(%S+ %S+ %S+) ')
  local sent = string.match(before, '^%S+ %S+ %S+ (%S+ %S+) ')
  return head and sent and head .. ' ' .. sent .. ' 0' or after
end
