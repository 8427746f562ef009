-- Replaces the record if its version is the expected one.
-- KEYS[1]  the record's key
-- ARGV     expected version, idleMs, absoluteAt, body
-- Returns  {version, idleAt, now} when stored; else what is there: the value, or nil when it is missing
local state, version, copies = look(KEYS[1])
if state == 'missing' then return false end
if state ~= 'record' or version ~= tonumber(ARGV[1]) then return redis.call('GET', KEYS[1]) end
local idle_at = idle_deadline(ARGV[2], ARGV[3])
return { store('R', KEYS[1], version, idle_at, copies, ARGV[4]), idle_at, now }
