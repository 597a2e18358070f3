-- The first application that leads here leaves its name.
-- KEYS: lease, epoch, application
-- ARGV: the fence, name
-- returns: {the name that stands there}
-- include: fence
local application = KEYS[3]
redis.call('SET', application, word(), 'NX')
renew_term()
return {redis.call('GET', application)}
