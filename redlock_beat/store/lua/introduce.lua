-- The first application that leads here leaves its name.
-- KEYS: lease, epoch, application
-- ARGV: lease text, epoch, ttl in ms, name
-- returns: '' when the term is over, else the name that stands there
-- include: fence
if not term_holds(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) then return '' end
redis.call('SET', KEYS[3], ARGV[4], 'NX')
renew_term(KEYS[1], ARGV[1], ARGV[3])
return redis.call('GET', KEYS[3])
