-- Entries and manual items that have to wait: each is put where its time says, and is otherwise left as it is.
-- KEYS: lease, epoch, due, state, manual
-- ARGV: the fence, number of entries, then for each: name, expected score, expected state, score then;
--       number of manual items, then for each: item, score then
-- returns: how many were put off
-- include: fence
-- include: entry
local due, state, manual = KEYS[3], KEYS[4], KEYS[5]
local done = 0
for i = 1, tonumber(word()) do
  local name, score, text, later = word(), word(), word(), word()
  if unchanged(due, state, name, score, text) then
    redis.call('ZADD', due, 'XX', later, name)
    done = done + 1
  end
end
for i = 1, tonumber(word()) do
  local item, later = word(), word()
  done = done + redis.call('ZADD', manual, 'XX', 'CH', later, item)
end
renew_term()
return done
