-- A call is made: it takes the lock, or learns who holds it.
-- KEYS: locks, lock_ends, aside, cooldowns
-- ARGV: digest, id, token of this call, whether it looks at the cooldown, whether it takes the lock, whether it replaces
--       a call that waits, ms until which it is sent or free again, ms to remember one that was replaced, task, shown
-- returns: {taken, id of the call it replaced or ''}, {held, id of the holder} or {cooling, ms left}
-- include: words
-- include: lock
local locks, ends, aside, cooldowns = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local digest, id, call, cools, takes, replaces = word(), word(), word(), word(), word(), word()
local sending, remember, task, shown = tonumber(word()), tonumber(word()), word(), word()
if cools == '1' then
  local cool = redis.call('ZSCORE', cooldowns, digest)
  if cool and tonumber(cool) > ms then return {'cooling', tonumber(cool) - ms} end
  for _, old in ipairs(lapsed(cooldowns)) do redis.call('ZREM', cooldowns, old) end
end
if takes ~= '1' then return {'taken', ''} end
for _, old in ipairs(lapsed(ends)) do free(locks, ends, old) end
for _, old in ipairs(lapsed(aside)) do redis.call('ZREM', aside, old) end

local lock = standing(locks, digest)
-- The same call asks again: its first answer was lost.
if lock and ((lock.id == id and lock.call == call) or (lock.next == id and lock.next_call == call)) then
  return {'taken', ''}
end
if lock and replaces ~= '1' then return {'held', lock.id} end
local replaced = ''
if lock and lock.phase == 'running' then
  if lock.next and lock.next_ends > ms then replaced = lock.next end
  lock.next, lock.next_call, lock.next_ends = id, call, ms + sending
else
  if lock then replaced = lock.id end
  lock = {id = id, call = call, phase = 'taken', since = ms, ends = ms + sending, task = task, shown = shown}
end
if replaced ~= '' then put_aside(aside, replaced, remember) end
redis.call('ZREM', aside, id, 'ran ' .. id)
keep(locks, ends, digest, lock)
return {'taken', replaced}
