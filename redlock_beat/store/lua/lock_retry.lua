-- A run is about to send itself again: its lock waits for a worker, so long from now.
-- KEYS: locks, lock_ends
-- ARGV: digest, id, token of the run, ms it may wait, task, shown
-- returns: 1 if it holds the lock, else 0 (another has it: then the retry waits for its turn)
-- include: words
-- include: lock
local locks, ends = KEYS[1], KEYS[2]
local digest, id, run, wait, task, shown = word(), word(), word(), tonumber(word()), word(), word()
local lock = standing(locks, digest)
if lock and (lock.id ~= id or (lock.phase == 'running' and not of_run(lock, run))) then return 0 end
lock = lock or {id = id, task = task, shown = shown}
lock.phase, lock.since, lock.ends, lock.again = 'waiting', ms, ms + wait, nil
keep(locks, ends, digest, lock)
return 1
