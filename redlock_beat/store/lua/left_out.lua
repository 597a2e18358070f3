-- Say which configured entries are not in force, and why.
-- KEYS: lease, epoch, left_out
-- ARGV: lease text, epoch, ttl in ms, the record ('' when all are in force)
-- returns: 1, or -1 when the term is over
-- include: fence
if not term_holds(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) then return -1 end
if ARGV[4] == '' then
  redis.call('DEL', KEYS[3])
else
  redis.call('SET', KEYS[3], ARGV[4])
end
renew_term(KEYS[1], ARGV[1], ARGV[3])
return 1
