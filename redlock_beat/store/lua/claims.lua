-- Claims: which run an entry has under way, where its policy lets it have one at a time. Under the entry's name:
-- `id until token limit`. Nobody has taken it while the token is '-': then it stands until an instant (microseconds).
-- Else it stands while that worker lives. The limit is how long (microseconds) it may wait for a worker.
-- include: time
-- include: alive
local function claim_of(claims, key)
  return string.match(redis.call('HGET', claims, key) or '', '^(%S+) (%S+) (%S+) (%S+)$')
end
local function claim(claims, key, id, until_, token, limit)
  redis.call('HSET', claims, key, id .. ' ' .. until_ .. ' ' .. token .. ' ' .. limit)
end
-- A lease that lapsed while the server was down says nothing of its worker, which gets ten seconds to renew it.
local server_up = nil
local function lapsed_while_down(workers, token)
  local until_ = redis.call('ZSCORE', workers, token)
  if not until_ then return false end
  if server_up == nil then
    local info = redis.pcall('INFO', 'server')
    server_up = tonumber(type(info) == 'string' and string.match(info, 'uptime_in_seconds:(%d+)') or 3600)
  end
  return server_up < 10 and tonumber(until_) < seconds - server_up + 3
end
local function stands(workers, until_, token)
  if token == '-' then return tonumber(until_) > tonumber(now) end
  return alive(workers, token) or lapsed_while_down(workers, token)
end

-- Buffered: what waits until a claim is free, oldest first; JSON under the entry's name. Each is the text of a manual item, or
-- '=', uid and slot of the entry, which waits in `due` itself. What is no longer there, or was moved, does not count.
local function itself(text)
  local uid, nominal = string.match(text, '^(%S+) %S+ (%S+) ')
  return uid and '=' .. uid .. ' ' .. nominal
end
local function waiting_for(buffered, manual, state, key)
  local text = redis.call('HGET', buffered, key)
  if not text then return {} end
  local found = {}
  for _, item in ipairs(cjson.decode(text)) do
    local there
    if string.sub(item, 1, 1) == '=' then
      there = itself(redis.call('HGET', state, key) or '') == item
    else
      there = redis.call('ZSCORE', manual, item)
    end
    if there then found[#found + 1] = item end
  end
  return found
end
local function wait_for(buffered, key, items)
  if #items == 0 then
    redis.call('HDEL', buffered, key)
  else
    redis.call('HSET', buffered, key, cjson.encode(items))
  end
end
-- Free a claim; what has waited longest is due now. Returns whether anything has.
local function release(claims, buffered, manual, due, state, key)
  redis.call('HDEL', claims, key)
  local items = waiting_for(buffered, manual, state, key)
  wait_for(buffered, key, items)
  if #items == 0 then return false end
  if string.sub(items[1], 1, 1) == '=' then
    redis.call('ZADD', due, 'XX', now_score, key)
  else
    redis.call('ZADD', manual, 'XX', now_score, items[1])
  end
  return true
end
