-- What the configuration last said of an entry. Sixteen letters are less than what a field of a hash takes by itself, so
-- the names are spread over 4096 fields, and each field holds several: ',"name":"digest","name":"digest"'.
-- Before, each had a field of its own in `configured`, which goes as it is written here.
local digests, configured = KEYS[6], KEYS[7]
local function put_digest(name, digest)
  if digest == '=' then return end
  local field = string.sub(redis.sha1hex(name), 1, 3)
  local before = redis.call('HGET', digests, field) or ''
  local head = ',' .. cjson.encode(name) .. ':"'
  local from, to = string.find(before, head, 1, true)
  local text = before
  if from then
    local close = string.find(before, '"', to + 1, true) or #before
    text = string.sub(before, 1, from - 1) .. string.sub(before, close + 1)
  end
  if digest ~= '-' then text = text .. head .. digest .. '"' end
  if text == '' then
    redis.call('HDEL', digests, field)
  elseif text ~= before then
    redis.call('HSET', digests, field, text)
  end
  redis.call('HDEL', configured, name)
end
