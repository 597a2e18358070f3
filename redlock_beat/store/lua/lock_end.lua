-- A call has ended. The lock is freed, or passes to the next, if the holder is this very id and, where it is said, run.
-- Where there is a request, the answer is remembered for a while, so that a retry after a lost reply is told the same.
-- KEYS: locks, lock_ends, aside, cooldowns[, request]
-- ARGV: digest, id, token of the run ('' if it does not run, '*' for any, '@' and a worker's token for any there), ms of
--       cooldown (0: none), ms to remember that it has run, for copies of its message
-- returns: 1 if it held the lock, or was the next, else 0
-- include: words
-- include: lock
local locks, ends, aside, cooldowns, request = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
if request and redis.call('GET', request) then return 1 end
local digest, id, run, cooldown, remember = word(), word(), word(), tonumber(word()), tonumber(word())
local function freed()
  if request then redis.pcall('SET', request, 1, 'PX', 300000) end  -- a full server refuses it; what is free is free
  return 1
end
if cooldown > 0 then redis.call('ZADD', cooldowns, ms + cooldown, digest) end
local lock = written(locks, digest)
if not lock then return 0 end
if lock.next == id and lock.id ~= id then
  lock.next, lock.next_call, lock.next_ends = nil, nil, nil
  keep(locks, ends, digest, lock)
  return freed()
end
if lock.id ~= id or (run == '' and lock.phase == 'running') then return 0 end
local worker = string.match(run, '^@(.*)$')
if worker then
  if lock.phase == 'running' and (lock.worker or '') ~= '' and lock.worker ~= worker then return 0 end
elseif run ~= '' and run ~= '*' and not of_run(lock, run) then
  return 0
end
if lock.again then put_aside(aside, 'ran ' .. id, remember) end
local next_lock = passed(lock)
if next_lock then keep(locks, ends, digest, next_lock) else free(locks, ends, digest) end
return freed()
