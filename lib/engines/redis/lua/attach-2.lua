-- Writes down that a node holds something live of a session, if there is one. PEXPIREAT comes first: it isn't refused at maxmemory, and
-- a script that has written once isn't refused what follows.
-- KEYS     the record's key; its holders' (see holders.lua)
-- ARGV     nodeId, facts
-- Returns  {version, idleAt, now} when written; else what is there: the value's header, or nil when it is missing
local state, version, _, idle_at = look(KEYS[1])
if state == 'missing' then return false end
if state ~= 'record' then return redis.call('GETRANGE', KEYS[1], 0, 34) end
redis.call('PEXPIREAT', KEYS[1], math.max(idle_at - 1, 1))
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('PEXPIREAT', KEYS[2], math.max(idle_at - 1, 1))
return { version, idle_at, now }
