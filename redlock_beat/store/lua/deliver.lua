-- Push messages to a broker that is this server (away: in another of its databases), or claim them for another broker:
-- all of a list, or none. Returns why it failed, or nil.
--
-- Scripts do not roll back: each push is a pcall, and when one fails those before it are taken back. What cannot be
-- taken back (PUBLISH) is the last.
local function push_one(push, outbox)
  if push[1] == 'CLAIM' then return redis.pcall('HSET', outbox, push[2], push[3]) end
  return redis.pcall(unpack(push))
end
local function take_back(pushes, done, outbox)
  for i = done, 1, -1 do
    local push = pushes[i]
    if push[1] == 'LPUSH' then redis.pcall('LREM', push[2], 1, push[3]) end
    if push[1] == 'CLAIM' then redis.pcall('HDEL', outbox, push[2]) end
  end
end
local function deliver(pushes, outbox, away, broker_db, own_db)
  if #pushes == 0 then return nil end
  if away then
    local went = redis.pcall('SELECT', broker_db)
    if went.err then return went.err end
  end
  local why = nil
  for i, push in ipairs(pushes) do
    local got = push_one(push, outbox)
    if type(got) == 'table' and got.err then
      why = got.err
      take_back(pushes, i - 1, outbox)
      break
    end
  end
  if away then redis.call('SELECT', own_db) end
  return why
end
