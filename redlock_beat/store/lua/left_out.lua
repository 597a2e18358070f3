-- Say which configured entries are not in force, and why.
-- KEYS: lease, epoch, left_out
-- ARGV: the fence, the record ('' when all are in force)
-- returns: 1
-- include: fence
local left_out, record = KEYS[3], word()
if record == '' then
  redis.call('DEL', left_out)
else
  redis.call('SET', left_out, record)
end
renew_term()
return 1
