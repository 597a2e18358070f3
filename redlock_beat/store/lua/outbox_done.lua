-- Remove items the broker has accepted, by id and unfenced: what is accepted is accepted.
-- KEYS: outbox, ledger
-- ARGV: ledger size, number of items, then for each:
--   id, 1 when it must still be there to be noted, words of its ledger row: how many, the words
-- returns: how many were there
local time = redis.call('TIME')
local now = time[1] .. string.format('%06d', tonumber(time[2]))
local at, removed = 3, 0
for i = 1, tonumber(ARGV[2]) do
  local id, must, size = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local there = redis.call('HDEL', KEYS[1], id)
  removed = removed + there
  if (there == 1 or must == '0') and size > 0 and tonumber(ARGV[1]) > 0 then
    redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], '*', 'at', now, unpack(ARGV, at + 3, at + 2 + size))
  end
  at = at + 3 + size
end
return removed
