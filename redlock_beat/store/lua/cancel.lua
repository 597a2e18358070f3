-- Cancel manual items that wait, and say so in the ledger. Anyone may: a leader that has one in hand finds it gone.
-- KEYS: manual, ledger
-- ARGV: ledger size, how many items, the items, words of the ledger row (its count is added)
-- returns: how many were there
local gone = 0
for i = 3, 2 + ARGV[2] do gone = gone + redis.call('ZREM', KEYS[1], ARGV[i]) end
if gone > 0 and tonumber(ARGV[1]) > 0 then
  local time = redis.call('TIME')
  local row = {unpack(ARGV, 3 + ARGV[2])}
  row[#row + 1] = 'count'
  row[#row + 1] = gone
  redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], '*',
    'at', time[1] .. string.format('%06d', tonumber(time[2])), unpack(row))
end
return gone
