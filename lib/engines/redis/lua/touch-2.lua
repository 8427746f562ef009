-- Extends the idle deadline of the record of the expected version, in place. PEXPIREAT comes first: it isn't refused at maxmemory, and
-- a script that has written once isn't refused what follows.
-- KEYS     the record's key; its holders', which live as long as it does
-- ARGV     expected version, idleMs, absoluteAt
-- Returns  {idleAt, now} when set; else what is there: the value's header, or nil when it is missing
local state, version, _, old_idle_at = look(KEYS[1])
if state == 'missing' then return false end
if state ~= 'record' or version ~= tonumber(ARGV[1]) then return redis.call('GETRANGE', KEYS[1], 0, 34) end
local idle_at, absolute_at = math.max(old_idle_at, now + tonumber(ARGV[2])), tonumber(ARGV[3])
if absolute_at > 0 then idle_at = math.min(idle_at, absolute_at) end
redis.call('PEXPIREAT', KEYS[1], math.max(idle_at - 1, 1))
redis.call('PEXPIREAT', KEYS[2], math.max(idle_at - 1, 1))
-- A deadline that has come removed the key: SETRANGE would make a new one.
if idle_at > now then redis.call('SETRANGE', KEYS[1], 7, struct.pack('>I6', idle_at)) end
return { idle_at, now }
