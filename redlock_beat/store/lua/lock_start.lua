-- A worker has the message of a call and is about to run it.
-- KEYS: locks, lock_ends, aside
-- ARGV: digest, id, token of this run, whether the lock ends here, whether it only looks while another holds it,
--       ms the lock stands unless it is renewed, worker, task, shown
-- returns: {run}, {held, id of the holder}, {again} (a run of this id goes on), {free} (nobody holds it, and it only
--          looked), {superseded} or {ran} (it has run while this copy of the message waited)
-- include: words
-- include: lock
local locks, ends, aside = KEYS[1], KEYS[2], KEYS[3]
local digest, id, run, ends_here, looks = word(), word(), word(), word(), word()
local ttl, worker, task, shown = tonumber(word()), word(), word(), word()
if is_aside(aside, id) then return {'superseded'} end
if is_aside(aside, 'ran ' .. id) then return {'ran'} end
local lock = standing(locks, digest)
if lock and lock.phase == 'running' then
  if lock.id ~= id then return {'held', lock.id} end
  if lock.run == run then return {'run'} end -- the first answer was lost
  lock.again = true
  keep(locks, ends, digest, lock)
  return {'again'}
end
if looks == '1' and not lock then return {'free'} end
if looks == '1' and lock.id ~= id then return {'held', lock.id} end
if ends_here == '1' then
  if lock and lock.id == id then free(locks, ends, digest) end
  return {'run'}
end
local now_running = {id = id, run = run, phase = 'running', since = ms, ends = ms + ttl, worker = worker, task = task,
                     shown = shown}
-- Its own time to wait was over, and another call took the lock: that one waits on, as the next.
if lock and lock.id ~= id then
  now_running.next, now_running.next_call, now_running.next_ends = lock.id, lock.call, lock.ends
end
keep(locks, ends, digest, now_running)
return {'run'}
