-- A task's lock: a call holds it from being made until it has run. `locks` has it as JSON, `lock_ends` when it lapses.
-- Its phases: taken (the message is being sent), waiting (for a worker, also between retries), running (a worker renews
-- it). While one runs, another call may wait as the next: then the lock passes to that one.
-- include: time
local ms = math.floor(tonumber(seconds) * 1000 + tonumber(rest) / 1000)

-- The lock as it was written; nil when there is none, or none that reads as one.
local function written(locks, digest)
  local text = redis.call('HGET', locks, digest)
  local fine, lock = pcall(cjson.decode, text or '')
  if fine and type(lock) == 'table' and type(lock.id) == 'string' and type(lock.ends) == 'number' then return lock end
end

-- Whether a lock is that of a run: one that was written anew after Redis forgot it does not know of which.
local function of_run(lock, run)
  if lock.run then return lock.run == run end
  return lock.phase == 'running'
end

-- What a lock becomes when its holder has ended: that of the next call, if one waits.
local function passed(lock)
  if lock.next and (lock.next_ends or 0) > ms then
    return {id = lock.next, call = lock.next_call, phase = 'waiting', since = ms, ends = lock.next_ends,
            task = lock.task, shown = lock.shown}
  end
end

-- The lock as it stands now; nil when it is free.
local function standing(locks, digest)
  local lock = written(locks, digest)
  if lock and lock.ends <= ms then return passed(lock) end
  return lock
end

local function keep(locks, ends, digest, lock)
  redis.call('HSET', locks, digest, cjson.encode(lock))
  redis.call('ZADD', ends, math.max(lock.ends, lock.next_ends or 0), digest)
end

local function free(locks, ends, digest)
  redis.call('HDEL', locks, digest)
  redis.call('ZREM', ends, digest)
end

-- An id that must not run: it was superseded, or it has run. Remembered for so long, and a few that are over forgotten.
local function put_aside(aside, id, remember)
  redis.call('ZADD', aside, ms + remember, id)
end

local function is_aside(aside, id)
  local ends = redis.call('ZSCORE', aside, id)
  return ends and tonumber(ends) > ms
end

-- Forget some of what has lapsed in a sorted set of ends.
local function lapsed(ends)
  return redis.call('ZRANGEBYSCORE', ends, '-inf', ms, 'LIMIT', 0, 5)
end
