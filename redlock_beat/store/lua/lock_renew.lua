-- A worker renews the locks of what it runs. Where Redis has forgotten the worker, it has forgotten its locks, too: then
-- those that nobody else has taken are written anew.
-- KEYS: locks, lock_ends, workers
-- ARGV: ms they stand from now, worker, how many, then for each: how many words, digest, id, task
-- returns: how many it holds
-- include: words
-- include: lock
local locks, ends, workers = KEYS[1], KEYS[2], KEYS[3]
local ttl, worker = tonumber(word()), word()
local forgot = not redis.call('ZSCORE', workers, worker)
local held = 0
for _, row in ipairs(rows()) do
  local digest, id, task = row[1], row[2], row[3]
  local lock = written(locks, digest)
  if not lock and forgot then
    lock = {id = id, phase = 'running', since = ms, worker = worker, task = task, shown = ''}
  end
  if lock and lock.id == id and lock.phase == 'running' then
    lock.ends = ms + ttl
    keep(locks, ends, digest, lock)
    held = held + 1
  end
end
return held
