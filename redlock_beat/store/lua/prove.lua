-- Is the broker this very server? Reads what was written through the broker's connection.
-- KEYS: none; the key may be in another database
-- ARGV: key as the broker knows it, nonce, broker's database number, schedule's
-- returns: 'same', 'other', or 'refused: why'
-- include: words
local key, nonce, broker_db, own_db = word(), word(), word(), word()
if broker_db ~= own_db then
  local went = redis.pcall('SELECT', broker_db)
  if went.err then return 'refused: ' .. went.err end
end
local got = redis.pcall('GET', key)
if broker_db ~= own_db then redis.call('SELECT', own_db) end
if type(got) == 'table' and got.err then return 'refused: ' .. got.err end
return got == nonce and 'same' or 'other'
