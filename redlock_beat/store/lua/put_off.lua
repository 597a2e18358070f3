-- Entries and manual items that have to wait: each is put where its time says, and is otherwise left as it is.
-- KEYS: lease, epoch, due, state, manual
-- ARGV: lease text, epoch, ttl in ms, number of entries, then for each: name, expected score, expected state,
--       score then; after them for each manual item: item, score then
-- returns: -1 when the term is over, else how many were put off
-- include: fence
if not term_holds(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) then return -1 end
local at, done = 5, 0
for i = 1, tonumber(ARGV[4]) do
  local score = redis.call('ZSCORE', KEYS[3], ARGV[at])
  if score and tonumber(score) == tonumber(ARGV[at + 1])
     and redis.call('HGET', KEYS[4], ARGV[at]) == ARGV[at + 2] then
    redis.call('ZADD', KEYS[3], 'XX', ARGV[at + 3], ARGV[at])
    done = done + 1
  end
  at = at + 4
end
for i = at, #ARGV, 2 do done = done + redis.call('ZADD', KEYS[5], 'XX', 'CH', ARGV[i + 1], ARGV[i]) end
renew_term(KEYS[1], ARGV[1], ARGV[3])
return done
