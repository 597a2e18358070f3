-- The messages of calls that have taken their locks are with the broker: from now on each may wait for a worker so long.
-- KEYS: locks, lock_ends
-- ARGV: how many, then for each: how many words, digest, id, ms it may wait
-- returns: how many hold their lock, or are the next
-- include: words
-- include: lock
local locks, ends = KEYS[1], KEYS[2]
local found = 0
for _, row in ipairs(rows()) do
  local digest, id, wait = row[1], row[2], tonumber(row[3])
  local lock = standing(locks, digest)
  if lock and (lock.id == id or lock.next == id) then
    found = found + 1
    if lock.id ~= id then
      lock.next_ends = ms + wait
    elseif lock.phase == 'taken' then
      lock.phase, lock.ends = 'waiting', ms + wait
    end
    keep(locks, ends, digest, lock)
  end
end
return found
