-- Some entries as they stand at one instant, in two texts: one text is read at once where a thousand replies are not.
-- KEYS: entries, state
-- ARGV: JSON: [name, ...]
-- returns: {[definition or null, ...] (each as it stands: JSON, unless it is rubbish), [state or false, ...]}
local entries, state, names = KEYS[1], KEYS[2], cjson.decode(ARGV[1])
local texts = redis.call('HMGET', entries, unpack(names))
for i = 1, #names do texts[i] = texts[i] or 'null' end
return {'[' .. table.concat(texts, ',') .. ']', cjson.encode(redis.call('HMGET', state, unpack(names)))}
