-- Stores a first record.
-- KEYS[1]  the record's key
-- ARGV     idleMs, absoluteAt, body
-- Returns  {version, idleAt, now} when stored; else what is there: the value
local state, version = look(KEYS[1])
if state ~= 'missing' then return redis.call('GET', KEYS[1]) end
local idle_at = idle_deadline(ARGV[1], ARGV[2])
return { store('R', KEYS[1], version, idle_at, NO_COPIES, ARGV[3]), idle_at, now }
