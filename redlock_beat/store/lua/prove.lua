-- Is the broker this very server? Reads what was written through the broker's connection.
-- KEYS: none; the key may be in another database
-- ARGV: key as the broker knows it, nonce, broker's database number, schedule's
-- returns: 'same', 'other', or 'refused: why'
if ARGV[3] ~= ARGV[4] then
  local went = redis.pcall('SELECT', ARGV[3])
  if went.err then return 'refused: ' .. went.err end
end
local got = redis.pcall('GET', ARGV[1])
if ARGV[3] ~= ARGV[4] then redis.call('SELECT', ARGV[4]) end
if type(got) == 'table' and got.err then return 'refused: ' .. got.err end
return got == ARGV[2] and 'same' or 'other'
