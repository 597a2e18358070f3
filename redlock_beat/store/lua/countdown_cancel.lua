-- Cancel calls that are kept, and say so in the ledger. Anyone may: a leader that has one in hand finds it gone.
--
-- The answer is remembered for a while under the request's key, so that a retry after a lost reply is told the same.
--
-- KEYS: countdowns, countdown_items, ledger, request
-- ARGV: ledger size, ids: how many, the ids, words of each ledger row: how many, the words (id and task are added)
-- returns: JSON: the ids of those that were there ({} for none)
-- include: words
-- include: ledger
local countdowns, items, ledger, request = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local remembered = redis.call('GET', request)
if remembered then return remembered end
local ledger_size, ids, row = word(), words(), words()
local gone = {}
for _, id in ipairs(ids) do
  local item = redis.call('HGET', items, id)
  redis.call('HDEL', items, id)
  if redis.call('ZREM', countdowns, id) == 1 then
    gone[#gone + 1] = id
    local read, head = pcall(cjson.decode, string.match(item or '', '^%S+ ([^\n]*)') or '')
    local said = {unpack(row)}
    said[#said + 1] = 'id'
    said[#said + 1] = id
    said[#said + 1] = 'task'
    said[#said + 1] = read and type(head) == 'table' and type(head[1]) == 'string' and head[1] or ''
    note(ledger, ledger_size, said)
  end
end
local answer = cjson.encode(gone)
redis.pcall('SET', request, answer, 'PX', 300000)  -- a full server refuses it; what is removed is removed
return answer
